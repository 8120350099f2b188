//go:build unix && !aix

package http1

import (
	"net"
	"syscall"
)

// newProbe returns a function that says, without waiting, whether a connection
// is open and nothing has arrived on it. Of a connection that is not a socket
// it says so always.
func newProbe(nc net.Conn) func() bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var quiet bool
	peek := func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	}
	return func() bool {
		quiet = false
		return raw.Read(peek) == nil && quiet
	}
}
