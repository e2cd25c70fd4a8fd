package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

func allowedHere() []uint32 { return nil }

func fatalHere() []uint32 { return nil }
