// The network as a program in a guest sees it: what a shell's tools cannot ask for. Every answer is one line.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const patience = 20 * time.Second

func main() {
	commands := map[string]func(args []string) error{
		"tcp":       tcp,
		"udp":       udp,
		"udp-echo":  udpEcho,
		"tcp-echo":  tcpEcho,
		"dial":      dial,
		"send":      send,
		"receive":   receive,
		"addresses": addresses,
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Println(err)
	}
}

// tcp ADDRESS:PORT TEXT: sends that and an end, and prints what comes back.
func tcp(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], patience)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(args[1])); err != nil {
		return err
	}
	conn.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(conn)
	fmt.Println(string(answer))
	return err
}

// udp ADDRESS:PORT TEXT: sends one datagram and prints the answer.
func udp(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(args[1])); err != nil {
		return err
	}
	answer := make([]byte, 65536)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	fmt.Println(string(answer[:n]))
	return nil
}

// udp-echo PORT: says "listening", and answers each datagram with who sent it.
func udpEcho(args []string) error {
	conn, err := net.ListenPacket("udp", ":"+args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening")
	datagram := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFrom(datagram)
		if err != nil {
			return err
		}
		conn.WriteTo(append([]byte(host(from)+" said "), datagram[:n]...), from)
	}
}

// tcp-echo PORT: says "listening", and answers each connection with who it is and with what it sends.
func tcpEcho(args []string) error {
	listener, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			fmt.Fprintf(conn, "%s said ", host(conn.RemoteAddr()))
			io.Copy(conn, conn)
			conn.Close()
		}()
	}
}

// dial NETWORK ADDRESS:PORT: what a connection ends in, and whether that took longer than a moment.
func dial(args []string) error {
	begin := time.Now()
	conn, err := net.DialTimeout(args[0], args[1], patience)
	if err == nil && args[0] == "udp" {
		conn.SetDeadline(time.Now().Add(patience))
		conn.Write([]byte("?"))
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil {
		fmt.Println("connected")
		return nil
	}
	// A SYN that nobody answers is repeated after a second.
	fmt.Println(err, "at once:", time.Since(begin) < 900*time.Millisecond)
	return nil
}

// send ADDRESS:PORT BYTES: sends, closes its side, and prints the sum of what it sent and of what came back.
func send(args []string) error {
	var bytes int64
	fmt.Sscan(args[1], &bytes)
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	back := make(chan string)
	go func() {
		sum := sha256.New()
		if _, err := io.Copy(sum, conn); err != nil {
			fmt.Println(err)
		}
		back <- fmt.Sprintf("%x", sum.Sum(nil))
	}()
	sum := sha256.New()
	block := make([]byte, 65536)
	for i := range block {
		block[i] = byte(i * 7 >> 3)
	}
	for sent := int64(0); sent < bytes; sent += int64(len(block)) {
		block[0], block[1], block[2] = byte(sent>>16), byte(sent>>24), byte(sent>>8)
		sum.Write(block)
		if _, err := conn.Write(block); err != nil {
			return err
		}
	}
	conn.(*net.TCPConn).CloseWrite()
	fmt.Printf("%x %s\n", sum.Sum(nil), <-back)
	return nil
}

// receive ADDRESS:PORT: prints the sum and the number of all that comes.
func receive(args []string) error {
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	sum := sha256.New()
	bytes, err := io.Copy(sum, conn)
	if err != nil {
		return err
	}
	fmt.Printf("%x %d\n", sum.Sum(nil), bytes)
	return nil
}

// addresses NAME: those that it has, or the error.
func addresses(args []string) error {
	found, err := net.LookupHost(args[0])
	if err != nil {
		return err
	}
	fmt.Println(found)
	return nil
}

func host(address net.Addr) string {
	name, _, _ := net.SplitHostPort(address.String())
	return name
}
