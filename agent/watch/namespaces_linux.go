package watch

import (
	"bytes"
	"hash/maphash"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// openMounts opens our own mount table to wait for what changes from now on. It is not for the runtime, which would wait
// for the file as well: of a change only the first that asks is told.
func openMounts() (fd int, err error) {
	return unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// followMounts waits for changes of our own mount table, and looks at all other
// mount namespaces now and then.
func (k *Kernel) followMounts(fd int) {
	defer k.ended.Done()
	defer unix.Close(fd)
	for last := time.Now(); ; {
		select {
		case <-k.done:
			return
		default:
		}
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(min(k.opts.Poll, 2*time.Second)/time.Millisecond)) // wakes for the end as well
		if n > 0 || time.Since(last) >= k.opts.Poll {
			k.refresh(false)
			last = time.Now()
		}
	}
}

// started is told of every program that is run; it never waits.
func (k *Kernel) started(pid int) {
	select {
	case k.starts <- pid:
	default: // a storm: the next look at all namespaces comes soon
	}
}

// followStarts looks at the mounts of programs that start in another mount
// namespace: what was mounted there a moment ago is marked before the next look at
// all. A private tmpfs is so followed from the first program that runs after the
// mount.
func (k *Kernel) followStarts() {
	defer k.ended.Done()
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return
	}
	seed := maphash.MakeSeed()
	known := map[string]uint64{}
	for {
		select {
		case <-k.done:
			return
		case pid := <-k.starts:
			ns, sum, marked := k.lookInto(pid, own, func(ns string, table []byte) (uint64, bool) {
				sum := maphash.Bytes(seed, table)
				return sum, known[ns] != sum
			})
			if !marked {
				continue
			}
			if len(known) > 4096 {
				clear(known) // namespaces come and go
			}
			known[ns] = sum
		}
	}
}

// lookInto marks what is new in the mount namespace of a process, if it is not
// ours and fresh says that its table is another than before. Mounts are reached through
// the process: of one that ended meanwhile nothing may have been marked.
func (k *Kernel) lookInto(pid int, own string, fresh func(ns string, table []byte) (uint64, bool)) (ns string, sum uint64, marked bool) {
	proc := "/proc/" + strconv.Itoa(pid)
	ns, err := os.Readlink(proc + "/ns/mnt")
	if err != nil || ns == own {
		return ns, 0, false
	}
	table, err := os.ReadFile(proc + "/mountinfo")
	if err != nil {
		return ns, 0, false
	}
	sum, ok := fresh(ns, table)
	if !ok {
		return ns, sum, false
	}
	mounts := parseMounts(bytes.NewReader(table), proc+"/root")
	k.mu.Lock()
	k.forgetLost()
	k.take(mounts, map[uint64]bool{}, false)
	k.mu.Unlock()
	now, err := os.Readlink(proc + "/ns/mnt")
	return ns, sum, err == nil && now == ns
}
