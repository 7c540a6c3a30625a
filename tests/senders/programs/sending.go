// What the programs in Go share; `sending.py` says what they are given.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

func given(name string) string { return os.Getenv("SENDER_" + name) }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tokens() []string {
	var read []string
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		read = append(read, lines.Text())
	}
	return read
}

var printing sync.Mutex

func tell(token, outcome string) {
	line, _ := json.Marshal(map[string]string{"token": token, "outcome": outcome})
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

// The type of an error and its text in one line.
func named(err error) string {
	return fmt.Sprintf("%T: %s", err, strings.Join(strings.Fields(err.Error()), " "))
}

// Send to every token, so many at a time as we are told. `send` returns the outcome.
func sendAll(send func(token string) string) {
	streams, err := strconv.Atoi(given("STREAMS"))
	must(err)
	queue := make(chan string)
	var workers sync.WaitGroup
	for at := 0; at < streams; at++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for token := range queue {
				tell(token, send(token))
			}
		}()
	}
	for _, token := range tokens() {
		queue <- token
	}
	close(queue)
	workers.Wait()
}
