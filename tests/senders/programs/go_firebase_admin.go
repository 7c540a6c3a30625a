// sender: firebase-admin for Go, SendEach
// provider: fcm
// install: firebase.google.com/go/v4@v4.19.0
// streams: 500
// reached: hosts
// how: hosts file and port 443; SSL_CERT_FILE
package main

import (
	"context"
	"strconv"
	"strings"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"google.golang.org/api/option"
)

// The library has one error type; these predicates are its classes.
var classes = []struct {
	name string
	is   func(error) bool
}{
	{"IsUnregistered", messaging.IsUnregistered},
	{"IsSenderIDMismatch", messaging.IsSenderIDMismatch},
	{"IsThirdPartyAuthError", messaging.IsThirdPartyAuthError},
	{"IsQuotaExceeded", messaging.IsQuotaExceeded},
	{"IsUnavailable", messaging.IsUnavailable},
	{"IsInternal", messaging.IsInternal},
	{"IsInvalidArgument", messaging.IsInvalidArgument},
}

func class(err error) string {
	for _, class := range classes {
		if class.is(err) {
			return class.name + ": " + strings.Join(strings.Fields(err.Error()), " ")
		}
	}
	return named(err)
}

func main() {
	ctx := context.Background()
	app, err := firebase.NewApp(ctx, nil, option.WithCredentialsFile(given("SERVICE_ACCOUNT_FILE")))
	must(err)
	client, err := app.Messaging(ctx)
	must(err)
	streams, err := strconv.Atoi(given("STREAMS"))
	must(err)
	pending := tokens()
	for len(pending) > 0 {
		batch := pending[:min(streams, len(pending))]
		pending = pending[len(batch):]
		messages := make([]*messaging.Message, len(batch))
		for index, token := range batch {
			messages[index] = &messaging.Message{Token: token, Notification: &messaging.Notification{Title: "Hi"}}
		}
		response, err := client.SendEach(ctx, messages)
		must(err)
		for index, token := range batch {
			if response.Responses[index].Success {
				tell(token, "ok")
			} else {
				tell(token, class(response.Responses[index].Error))
			}
		}
	}
}
