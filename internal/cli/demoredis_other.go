//go:build !unix

package cli

import "syscall"

// ownProcess can do nothing here.
func ownProcess() *syscall.SysProcAttr { return nil }
