//go:build !unix

package redistest

import "syscall"

// The system has no such signals: Stop and Continue fail the test.
const (
	haltSignal   = syscall.Signal(19)
	resumeSignal = syscall.Signal(18)
)

func diesWithParent() *syscall.SysProcAttr { return nil }
