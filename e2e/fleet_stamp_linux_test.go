package e2e

import (
	"net"
	"syscall"
	"time"
	"unsafe"
)

// stamp has the kernel say when what is read from a connection came.
func stamp(conn net.Conn) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1)
	}); err != nil {
		return err
	}
	return failed
}

// readStamped reads, and returns when the last of it came; zero if the kernel
// does not say.
func readStamped(conn net.Conn, p []byte) (n int, came time.Time, err error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, came, err
	}
	control := make([]byte, 128)
	var controls int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, controls, _, _, failed = syscall.Recvmsg(int(fd), p, control, 0)
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	if err != nil {
		return 0, came, err
	}
	if failed != nil {
		return 0, came, failed
	}
	messages, err := syscall.ParseSocketControlMessage(control[:controls])
	if err != nil {
		return n, came, err
	}
	for _, m := range messages {
		var at syscall.Timespec
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == syscall.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(at)) {
			at = *(*syscall.Timespec)(unsafe.Pointer(&m.Data[0]))
			came = time.Unix(at.Unix())
		}
	}
	return n, came, nil
}
