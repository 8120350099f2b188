//go:build unix && !linux

package cli

import "syscall"

// ownProcess keeps Ctrl-C from a child, which is still needed then.
func ownProcess() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
