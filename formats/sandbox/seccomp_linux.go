//go:build linux && (amd64 || arm64)

package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Parts of struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
	dataArg2   = 32
)

// seccomp lets through what the Go runtime and reading of open files need, for
// all threads. Calls that only an attacker makes end the process; others fail
// with EPERM.
func seccomp() error {
	prog := program()
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	if errno != 0 {
		return errno
	}
	return nil
}

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func jump(code uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k}
}

const (
	load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	above = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	bit   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ret   = unix.BPF_RET | unix.BPF_K
)

// program is the filter.
func program() []unix.SockFilter {
	allow, kill := uint32(unix.SECCOMP_RET_ALLOW), uint32(unix.SECCOMP_RET_KILL_PROCESS)
	deny := func(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }
	p := []unix.SockFilter{
		stmt(load, dataArch),
		jump(equal, auditArch, 1, 0),
		stmt(ret, kill),
		stmt(load, dataNumber),
		jump(above, 0x40000000, 0, 1), // x32 on amd64
		stmt(ret, kill),
	}
	on := func(number uint32, then ...unix.SockFilter) {
		p = append(p, jump(equal, number, 0, uint8(len(then))))
		p = append(p, then...)
	}
	for _, n := range allowed() {
		on(n, stmt(ret, allow))
	}
	for _, n := range fatal() {
		on(n, stmt(ret, kill))
	}
	// A thread, never a process.
	on(unix.SYS_CLONE, stmt(load, dataArg0), jump(bit, unix.CLONE_THREAD, 0, 1), stmt(ret, allow), stmt(ret, kill))
	on(unix.SYS_CLONE3, stmt(ret, deny(unix.ENOSYS))) // its flags are in memory; callers fall back to clone
	// Memory, never executable.
	for _, n := range []uint32{unix.SYS_MMAP, unix.SYS_MPROTECT} {
		on(n, stmt(load, dataArg2), jump(bit, unix.PROT_EXEC, 0, 1), stmt(ret, deny(unix.EPERM)), stmt(ret, allow))
	}
	return append(p, stmt(ret, deny(unix.EPERM)))
}

// allowed is what the runtime, pread, the spool and the control socket need.
func allowed() []uint32 {
	return append([]uint32{
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_READV, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_CLOSE,
		unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_FSTAT, unix.SYS_LSEEK, unix.SYS_FCNTL,
		unix.SYS_FUTEX, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
		unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
		unix.SYS_GETTIMEOFDAY, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_TGKILL, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL,
		unix.SYS_MEMBARRIER, unix.SYS_GETRANDOM, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT,
		unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	}, allowedHere()...)
}

// fatal is what no decoder ever does.
func fatal() []uint32 {
	return append([]uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BPF, unix.SYS_MOUNT,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_PROCESS_VM_READV,
		unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_KEYCTL, unix.SYS_ADD_KEY,
	}, fatalHere()...)
}
