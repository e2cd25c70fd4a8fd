package limits

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Background lowers the priority of the whole process for CPU (nice 10) and disk
// (idle class). Threads made later inherit both.
func Background() error {
	const whoProcess, classIdle, classShift = 1, 3, 13
	var errs []error
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		tid := 0
		for _, c := range e.Name() {
			tid = tid*10 + int(c-'0')
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, 10); err != nil {
			errs = append(errs, err)
		}
		if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(tid), classIdle<<classShift); e != 0 {
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// Now reads the pressure of the machine; a kernel without PSI has none.
func Now() Pressure {
	read := func(name string) float64 {
		f, err := os.Open("/proc/pressure/" + name)
		if err != nil {
			return 0
		}
		defer f.Close()
		return parseSome(f)
	}
	return Pressure{IO: read("io"), CPU: read("cpu")}
}
