package stats

import "testing"

func TestCPUWithoutIdle(t *testing.T) {
	if got := cpu([]byte("cpu  1 2 3 1000 1000 4 5 6 0 0\ncpu0 9 9 9 9 9 9 9\n")); got != 15*tick {
		t.Error(got)
	}
	if got := cpu([]byte("intr 1 2 3\n")); got != 0 {
		t.Error(got)
	}
}

func TestMemory(t *testing.T) {
	got := memory([]byte("MemTotal:   100 kB\nMemFree:  1 kB\nMemAvailable:  60 kB\nBuffers: 1 kB\nCached:  20 kB\nSwapCached: 7 kB\nSReclaimable: 3 kB\n"))
	if want := (Memory{Total: 100 << 10, Available: 60 << 10, Cache: 24 << 10}); got != want {
		t.Error(got)
	}
}

func TestNetworkWithoutLoopback(t *testing.T) {
	text := "Inter-|   Receive |  Transmit\n face |bytes packets|bytes\n" +
		"    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n"
	if received, sent := network([]byte(text)); received != 101 || sent != 202 {
		t.Error(received, sent)
	}
}

func TestPressure(t *testing.T) {
	got := pressure([]byte("some avg10=12.34 avg60=0.00 avg300=0.00 total=345\nfull avg10=0.05 avg60=0.00 avg300=0.00 total=6\n"))
	if want := (Pressure{Some: Stall{1234, 345}, Full: Stall{5, 6}}); got != want {
		t.Error(got)
	}
}

func TestReadsThisKernel(t *testing.T) {
	s := Read(-1)
	if s.CPU == 0 || s.Memory.Total == 0 || s.Memory.Available == 0 || s.Memory.Available > s.Memory.Total {
		t.Error(s)
	}
}
