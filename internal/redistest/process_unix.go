//go:build unix && !linux

package redistest

import "syscall"

const (
	haltSignal   = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// diesWithParent can do nothing here: servers outlive a test binary that is
// killed.
func diesWithParent() *syscall.SysProcAttr { return nil }
