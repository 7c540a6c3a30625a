// sender: sideshow/apns2
// provider: apns
// install: github.com/sideshow/apns2@v0.25.0
// streams: 100
// reached: options
// how: `Client.Host` is a URL; SSL_CERT_FILE
package main

import (
	"fmt"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
)

func main() {
	key, err := token.AuthKeyFromFile(given("KEY_FILE"))
	must(err)
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: given("KEY_ID"), TeamID: given("TEAM_ID")})
	client.Host = given("URL")
	sendAll(func(token string) string {
		response, err := client.Push(&apns2.Notification{
			DeviceToken: token,
			Topic:       given("TOPIC"),
			PushType:    apns2.PushTypeAlert,
			Payload:     []byte(`{"aps":{"alert":"Hi"}}`),
		})
		if err != nil {
			return named(err)
		}
		if !response.Sent() {
			return fmt.Sprintf("Response: %d %s", response.StatusCode, response.Reason)
		}
		return "ok"
	})
}
