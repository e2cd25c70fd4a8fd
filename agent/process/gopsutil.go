package process

import (
	"time"

	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/process"

	"weightwarden/internal/api"
)

// Seed lists the running processes through gopsutil, at start and on systems
// without /proc. Processes that end while it looks are left out.
func Seed() []api.Process {
	list, err := process.Processes()
	if err != nil {
		return nil
	}
	out := make([]api.Process, 0, len(list))
	for _, g := range list {
		out = append(out, *fromGopsutil(g))
	}
	return out
}

func fromGopsutil(g *process.Process) *api.Process {
	p := &api.Process{PID: int(g.Pid), UID: -1}
	if v, err := g.Ppid(); err == nil {
		p.PPID = int(v)
	}
	p.Name, _ = g.Name() // what cannot be read stays empty
	p.Exe, _ = g.Exe()
	p.Cwd, _ = g.Cwd()
	p.TTY, _ = g.Terminal()
	if args, err := g.CmdlineSlice(); err == nil {
		p.Args = cutArgs(args)
	}
	if uids, err := g.Uids(); err == nil && len(uids) > 0 {
		p.UID = int(uids[0])
	}
	if ms, err := g.CreateTime(); err == nil {
		t := time.UnixMilli(ms).UTC()
		p.Started = &t
	}
	return p
}

// HostFacts describes this machine.
func HostFacts() api.Host {
	info, err := host.Info()
	if err != nil {
		return api.Host{}
	}
	platform := info.Platform
	if info.PlatformVersion != "" {
		platform += " " + info.PlatformVersion
	}
	return api.Host{Name: info.Hostname, OS: info.OS, Arch: info.KernelArch, Kernel: info.KernelVersion,
		Machine: info.HostID, Platform: platform}
}
