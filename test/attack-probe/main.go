// An attacker that is root in a guest: ordinary sockets, raw ones, and whole frames. Whatever an attack comes to is printed; after it a
// datagram goes to where the sandbox may send, and comes back. What was sent before has then been dealt with by the gateway.
//
//	attack-probe MARK COMMAND ARGUMENT…
//
// A TEXT that begins with "hex:" is bytes; "wait" is none, and waits for an answer to those before.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// Of one step of an attack.
	patience = 5 * time.Second
	// Until the mark has come back, and between two of them.
	markPatience = 60 * time.Second
	markEvery    = time.Second
	answerBytes  = 4096
)

func main() {
	commands := map[string]func(args []string) error{
		"tcp":    tcp,
		"udp":    udp,
		"frames": frames,
		"raw":    raw,
		"sh":     shell,
	}
	if err := commands[os.Args[2]](os.Args[3:]); err != nil {
		fmt.Println(err)
	}
	if err := mark(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// tcp HOST:PORT TEXT…: to every address of the host, and again for those of a second look, since names may change.
func tcp(args []string) error {
	return eachAddress(args[0], func(address string) error {
		conn, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err = say(conn, args[1:]); err != nil {
			return err
		}
		// As much as to say that this is all: who waits for more answers then.
		conn.(*net.TCPConn).CloseWrite()
		for err == nil {
			err = answer(conn)
		}
		if err == io.EOF {
			return nil
		}
		return err
	})
}

// udp HOST:PORT TEXT…: as datagrams; no answer is waited for but where a text says so.
func udp(args []string) error {
	return eachAddress(args[0], func(address string) error {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		return say(conn, args[1:])
	})
}

// say writes the texts, and waits for an answer where one says so.
func say(conn net.Conn, texts []string) (err error) {
	conn.SetDeadline(time.Now().Add(patience))
	for _, text := range texts {
		if text == "wait" {
			err = answer(conn)
		} else {
			_, err = conn.Write(bytesOf(text))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sh SCRIPT: the tools of the image.
func shell(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	output, err := exec.CommandContext(ctx, "/bin/sh", "-c", args[0]).CombinedOutput()
	fmt.Print(string(output))
	return err
}

// mark ADDRESS: returns when one of our datagrams has come back from there.
func mark(address string) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	for end := time.Now().Add(markPatience); time.Now().Before(end); {
		if _, err = conn.Write([]byte("mark")); err == nil {
			conn.SetReadDeadline(time.Now().Add(markEvery))
			if _, err = conn.Read(make([]byte, answerBytes)); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("the mark did not come back: %w", err)
}

// eachAddress of a host: tells what became of each, and goes on.
func eachAddress(hostPort string, try func(address string) error) error {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return err
	}
	looks := 2
	if net.ParseIP(strings.Split(host, "%")[0]) != nil {
		looks = 1
	}
	for range looks {
		addresses := []string{host}
		if looks > 1 {
			if addresses, err = net.LookupHost(host); err != nil {
				fmt.Println(err)
			}
		}
		for _, address := range addresses {
			if err := try(net.JoinHostPort(address, port)); err != nil {
				fmt.Println(err)
			}
		}
	}
	return nil
}

func answer(conn net.Conn) error {
	bytes := make([]byte, answerBytes)
	n, err := conn.Read(bytes)
	fmt.Printf("%s\n", bytes[:n])
	return err
}

func bytesOf(text string) []byte {
	if digits, found := strings.CutPrefix(text, "hex:"); found {
		bytes, err := hex.DecodeString(digits)
		if err != nil {
			panic(err)
		}
		return bytes
	}
	return []byte(text)
}
