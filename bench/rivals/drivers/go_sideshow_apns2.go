// rival: sideshow/apns2
// provider: apns
// install: github.com/sideshow/apns2@v0.25.0
// streams: 1000
// source: the README of sideshow/apns2, "Speed" and _examples/channel: one Client for all, a channel, many goroutines that Push.
// Host is a field of its own; whom to trust is set on its transport.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"golang.org/x/net/http2"
)

type alert struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

type payload struct {
	Aps struct {
		Alert alert  `json:"alert"`
		Sound string `json:"sound"`
		Badge int    `json:"badge"`
	} `json:"aps"`
	Order int    `json:"order"`
	Link  string `json:"link"`
}

func given(name string) string { return os.Getenv("RIVAL_" + name) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpu() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}

func main() {
	count, _ := strconv.Atoi(given("COUNT"))
	streams, _ := strconv.Atoi(given("STREAMS"))
	key, err := token.AuthKeyFromFile(given("KEY_FILE"))
	must(err)
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: given("KEY_ID"), TeamID: given("TEAM_ID")})
	client.Host = given("URL")
	pem, err := os.ReadFile(given("CA_FILE"))
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client.HTTPClient = &http.Client{
		Transport: &http2.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			DialTLS:         apns2.DialTLS,
			ReadIdleTimeout: apns2.ReadIdleTimeout,
		},
		Timeout: apns2.HTTPClientTimeout,
	}
	var ready payload
	must(json.Unmarshal([]byte(given("PAYLOAD")), &ready))
	var ok atomic.Int64
	send := func(number int) {
		made := ready
		made.Order = 1000000 + number
		response, err := client.Push(&apns2.Notification{
			DeviceToken: fmt.Sprintf("%064x", number),
			Topic:       given("TOPIC"),
			PushType:    apns2.PushTypeAlert,
			Payload:     &made,
		})
		if err == nil && response.Sent() {
			ok.Add(1)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	send(0)
	ok.Store(0)
	numbers := make(chan int, streams)
	var workers sync.WaitGroup
	wall, used := time.Now(), cpu()
	for at := 0; at < streams; at++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range numbers {
				send(number)
			}
		}()
	}
	for number := 0; number < count; number++ {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
	took := time.Since(wall).Seconds()
	line, _ := json.Marshal(map[string]any{
		"rate": float64(count) / took, "cpu_us": (cpu() - used) / float64(count) * 1e6, "ok": ok.Load(), "version": "0.25.0",
	})
	fmt.Println(string(line))
}
