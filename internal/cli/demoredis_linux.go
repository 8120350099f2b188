package cli

import "syscall"

// ownProcess keeps Ctrl-C from a child, which is still needed then, and ends it
// if this process is killed.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
