package main

import (
	"fmt"
	"net"
	"strconv"
	"syscall"
)

const (
	ethPAll    = 3
	ipprotoRaw = 255
)

// frames HEX…: whole Ethernet frames, out of the one interface that there is.
func frames(args []string) error {
	link, err := wire()
	if err != nil {
		return err
	}
	// Of protocol 0: it sends, and nothing is received.
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	to := &syscall.SockaddrLinklayer{Protocol: ethPAll << 8, Ifindex: link.Index, Halen: 6}
	for _, frame := range args {
		if err := syscall.Sendto(socket, bytesOf("hex:"+frame), 0, to); err != nil {
			return fmt.Errorf("a frame of %d bytes: %w", len(frame)/2, err)
		}
	}
	return nil
}

// raw PROTOCOL ADDRESS HEX: a payload of this IP protocol through the guest's own routing; 255: with its header.
func raw(args []string) error {
	protocol, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	address := net.ParseIP(args[1])
	if four := address.To4(); four != nil {
		return rawTo(syscall.AF_INET, protocol, args[2], &syscall.SockaddrInet4{Addr: [4]byte(four)})
	}
	return rawTo(syscall.AF_INET6, protocol, args[2], &syscall.SockaddrInet6{Addr: [16]byte(address)})
}

func rawTo(family int, protocol int, payload string, to syscall.Sockaddr) error {
	socket, err := syscall.Socket(family, syscall.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	if protocol == ipprotoRaw {
		if err := syscall.SetsockoptInt(socket, syscall.IPPROTO_IP, syscall.IP_HDRINCL, 1); err != nil {
			return err
		}
	}
	return syscall.Sendto(socket, bytesOf("hex:"+payload), 0, to)
}

func wire() (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, each := range all {
		if each.Flags&net.FlagLoopback == 0 && len(each.HardwareAddr) == 6 {
			return &each, nil
		}
	}
	return nil, fmt.Errorf("there is no interface among %d", len(all))
}
