//go:build linux

package main

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

func TestCPUOfSumsUserAndSystemTime(t *testing.T) {
	for _, test := range []struct {
		stat string
		want time.Duration
		ok   bool
	}{
		{"42 (nginx) S 1 42 42 0 -1 4194560 900 0 0 0 150 275 0 0 20 0 1 0 999 0 0", 4250 * time.Millisecond, true},
		{"42 (a) S 9) S 1 42 42 0 -1 4194560 900 0 0 0 1 2 0 0 20 0 1 0 999 0 0", 30 * time.Millisecond, true},
		{"42 (nginx) S 1 42", 0, false},
		{"42 (nginx) S 1 42 42 0 -1 4194560 900 0 0 0 x 275 0 0", 0, false},
		{"", 0, false},
	} {
		got, err := cpuOf(test.stat)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("cpuOf(%q) = %v, %v, want %v, ok %v", test.stat, got, err, test.want, test.ok)
		}
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	sorted := make([]float64, 1000)
	for i := range sorted {
		sorted[i] = float64(i + 1)
	}
	for _, test := range []struct {
		values []float64
		share  float64
		want   float64
	}{
		{sorted, 0.5, 500},
		{sorted, 0.99, 990},
		{sorted, 0.999, 999},
		{sorted, 1, 1000},
		{sorted, 0, 1},
		{sorted[:1], 0.999, 1},
	} {
		if got := quantile(test.values, test.share); got != test.want {
			t.Errorf("quantile(%d values, %v) = %v, want %v", len(test.values), test.share, got, test.want)
		}
	}
}

func TestSummaryIsMedianAndRange(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{[]float64{7}, "7.0"},
		{[]float64{3, 1, 2}, "2.0 (1.0 – 3.0)"},
		{[]float64{4, 1, 2, 3}, "2.5 (1.0 – 4.0)"},
	} {
		if got := summary("%.1f", test.values); got != test.want {
			t.Errorf("summary(%v) = %q, want %q", test.values, got, test.want)
		}
	}
}

// An upstream that refuses, or a proxy that answers by itself, must not be
// measured as if it had done the work.
func TestCallRefusesOtherAnswers(t *testing.T) {
	full := "Content-Type: application/json\r\ncontent-length: 1024\r\n\r\n" + answer()
	for _, test := range []struct {
		name, answer, want string
	}{
		{"the answer", "HTTP/1.1 200 OK\r\n" + full, ""},
		{"refused", "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nwait", "answer is not 200: HTTP/1.1 429"},
		{"another answer", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", "answer of 4 bytes, want 1024"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", "answer of -1 bytes, want 1024"},
		{"cut off", "HTTP/1.1 200 OK\r\nContent-Le", "EOF"},
	} {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := far.Read(make([]byte, 4096)); err == nil {
				_, _ = far.Write([]byte(test.answer)) // it fails if the rest is not read
			}
		}()
		c := &conn{near, bufio.NewReader(near)}
		err := c.call(get())
		near.Close()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: call = %v, want %q", test.name, err, test.want)
		}
	}
}

func TestRequestsAnnounceTheirBodies(t *testing.T) {
	for _, size := range []int{heldBody, requestBody} {
		head, body, _ := strings.Cut(string(post(size)), "\r\n\r\n")
		if len(body) != size {
			t.Errorf("post(%d) has a body of %d bytes after %q", size, len(body), head)
		}
	}
}

func TestAnswerIsWholeAtItsLastByte(t *testing.T) {
	full := "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + answer()
	for _, test := range []struct {
		name, got string
		whole     bool
		want      string // of the error
	}{
		{"the answer", full, true, ""},
		{"one byte less", full[:len(full)-1], false, ""},
		{"half a head", full[:20], false, ""},
		{"nothing yet", "", false, ""},
		{"one byte more", full + "x", false, "answer of 1025 bytes, want 1024"},
		{"refused", "HTTP/1.1 429 Too Many Requests\r\n", false, "answer is not 200: HTTP/1.1 429"},
	} {
		whole, err := isWhole([]byte(test.got))
		if whole != test.whole || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: isWhole = %v, %v, want %v, %q", test.name, whole, err, test.whole, test.want)
		}
	}
}

// What a call took while the machine stood still says nothing of its way.
func TestCallsMeetStalls(t *testing.T) {
	t0 := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	s := stalls{{at(10), at(14)}, {at(30), at(31)}}
	for _, test := range []struct {
		due, done int
		want      bool
	}{
		{1, 2, false}, {9, 11, true}, {11, 12, true}, {13, 20, true}, {14, 15, false}, {1, 99, true}, {29, 30, false},
	} {
		if got := s.met(at(test.due), at(test.done)); got != test.want {
			t.Errorf("a call from %d to %d ms met a stall: %v, want %v", test.due, test.done, got, test.want)
		}
	}
}

func TestLatencyTableComparesWithinTurns(t *testing.T) {
	table := latencyTable([]*front{{name: "direct"}, {name: "front"}}, [][]sliced{
		{{took: []float64{100, 200, 300}, all: []float64{1, 2, 3}}, {leftOut: 100, all: []float64{1, 2, 3}}},
		{{took: []float64{110, 230, 350}, all: []float64{1, 2, 9}}, {took: []float64{900, 900, 900}, all: []float64{1, 2, 9}}},
	})
	want := "| 10 (10 – 10) | 30 (30 – 30) | 50 (50 – 50) | 6 (6 – 6) |"
	if !strings.Contains(table, want) {
		t.Errorf("no %q in:\n%s", want, table)
	}
}
