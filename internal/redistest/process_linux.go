package redistest

import "syscall"

const (
	haltSignal   = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// diesWithParent makes a process end when the thread that started it does.
func diesWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
