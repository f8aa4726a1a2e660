// Load for the network, and the peer that takes it. In a guest: `net-load WHAT ADDRESS:PORT CONNECTIONS AMOUNT`, which prints one line of
// JSON. On the host: `net-load serve`, which prints its port. The first byte of a connection says what it is for.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	patience  = 120 * time.Second
	blockSize = 256 * 1024
	response  = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, guest\n"
)

// What a guest measured.
type result struct {
	Seconds float64 `json:"seconds"`
	// Bytes that arrived.
	Bytes int64 `json:"bytes,omitempty"`
	// How long each question took, in milliseconds.
	Milliseconds []float64 `json:"milliseconds,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if args[0] == "serve" {
		return serve()
	}
	connections, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	amount, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	var measured result
	switch args[0] {
	case "send":
		measured, err = send(args[1], connections, amount)
	case "receive":
		measured, err = receive(args[1], connections, amount)
	case "request":
		measured, err = ask(connections, amount, func() (func() error, error) {
			return func() error { return request(args[1]) }, nil
		})
	case "echo":
		measured, err = ask(connections, amount, func() (func() error, error) { return echo(args[1]) })
	case "hold":
		measured, err = hold(args[1], connections)
	default:
		err = fmt.Errorf("what is %q", args[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measured)
}

// send: so many bytes over so many connections at once, until the peer has told that it has them all.
func send(address string, connections int, bytes int64) (result, error) {
	share := bytes / int64(connections)
	block := make([]byte, blockSize)
	return together(address, connections, 'S', func(conn *net.TCPConn) (int64, error) {
		for left := share; left > 0; left -= int64(len(block)) {
			if _, err := conn.Write(block[:min(left, int64(len(block)))]); err != nil {
				return 0, err
			}
		}
		if err := conn.CloseWrite(); err != nil {
			return 0, err
		}
		var arrived [8]byte
		_, err := io.ReadFull(conn, arrived[:])
		return int64(binary.BigEndian.Uint64(arrived[:])), err
	})
}

func receive(address string, connections int, bytes int64) (result, error) {
	var share [8]byte
	binary.BigEndian.PutUint64(share[:], uint64(bytes/int64(connections)))
	return together(address, connections, 'D', func(conn *net.TCPConn) (int64, error) {
		if _, err := conn.Write(share[:]); err != nil {
			return 0, err
		}
		return drain(conn, make([]byte, blockSize))
	})
}

// together opens all connections before any of them begins.
func together(address string, connections int, kind byte, work func(*net.TCPConn) (int64, error)) (result, error) {
	open := make([]*net.TCPConn, connections)
	for i := range open {
		conn, err := dial(address, kind)
		if err != nil {
			return result{}, err
		}
		defer conn.Close()
		open[i] = conn
	}
	type end struct {
		bytes int64
		err   error
	}
	ends := make(chan end)
	begin := time.Now()
	for _, conn := range open {
		go func() {
			bytes, err := work(conn)
			ends <- end{bytes, err}
		}()
	}
	var measured result
	for range open {
		each := <-ends
		if each.err != nil {
			return result{}, each.err
		}
		measured.Bytes += each.bytes
	}
	measured.Seconds = time.Since(begin).Seconds()
	return measured, nil
}

// ask: so many askers, each asks again when it has its answer, for so many milliseconds.
func ask(askers int, ms int64, prepare func() (func() error, error)) (result, error) {
	type end struct {
		took []float64
		err  error
	}
	questions := make([]func() error, askers)
	for i := range questions {
		question, err := prepare()
		if err != nil {
			return result{}, err
		}
		questions[i] = question
	}
	ends := make(chan end)
	begin := time.Now()
	until := begin.Add(time.Duration(ms) * time.Millisecond)
	for _, question := range questions {
		go func() {
			var took []float64
			for now := time.Now(); now.Before(until); {
				if err := question(); err != nil {
					ends <- end{nil, err}
					return
				}
				then := now
				now = time.Now()
				took = append(took, float64(now.Sub(then).Microseconds())/1000)
			}
			ends <- end{took, nil}
		}()
	}
	var measured result
	for range questions {
		each := <-ends
		if each.err != nil {
			return result{}, each.err
		}
		measured.Milliseconds = append(measured.Milliseconds, each.took...)
	}
	measured.Seconds = time.Since(begin).Seconds()
	return measured, nil
}

// request: one short HTTP connection.
func request(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	var answer [512]byte
	bytes, err := drain(conn, answer[:])
	if err == nil && bytes != int64(len(response)) {
		err = fmt.Errorf("an answer of %d bytes", bytes)
	}
	return err
}

// echo: round trips of 64 bytes on a connection that stays open.
func echo(address string) (func() error, error) {
	conn, err := dial(address, 'E')
	if err != nil {
		return nil, err
	}
	message := make([]byte, 64)
	return func() error {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, message)
		return err
	}, nil
}

// hold opens connections and uses each once; says so, and keeps them until stdin ends.
func hold(address string, connections int) (result, error) {
	begin := time.Now()
	for range connections {
		question, err := echo(address)
		if err != nil {
			return result{}, err
		}
		if err := question(); err != nil {
			return result{}, err
		}
	}
	measured := result{Seconds: time.Since(begin).Seconds()}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	return measured, nil
}

func dial(address string, kind byte) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Write([]byte{kind})
	return conn.(*net.TCPConn), err
}

func drain(conn net.Conn, buffer []byte) (int64, error) {
	var bytes int64
	for {
		n, err := conn.Read(buffer)
		bytes += int64(n)
		if err == io.EOF {
			return bytes, nil
		}
		if err != nil {
			return bytes, err
		}
	}
}

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		// Ends with whoever started it.
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(conn.(*net.TCPConn))
	}
}

func answer(conn *net.TCPConn) {
	defer conn.Close()
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return
	}
	switch kind[0] {
	case 'S':
		bytes, _ := drain(conn, make([]byte, blockSize))
		conn.Write(binary.BigEndian.AppendUint64(nil, uint64(bytes)))
	case 'D':
		var share [8]byte
		if _, err := io.ReadFull(conn, share[:]); err != nil {
			return
		}
		block := make([]byte, blockSize)
		for left := int64(binary.BigEndian.Uint64(share[:])); left > 0; left -= blockSize {
			if _, err := conn.Write(block[:min(left, blockSize)]); err != nil {
				return
			}
		}
	case 'E':
		var buffer [4096]byte
		for {
			n, err := conn.Read(buffer[:])
			if err != nil {
				return
			}
			conn.Write(buffer[:n])
		}
	case 'G':
		head := bufio.NewReader(conn)
		for line := "."; line != "\r\n"; {
			var err error
			if line, err = head.ReadString('\n'); err != nil {
				return
			}
		}
		io.WriteString(conn, response)
	}
}
