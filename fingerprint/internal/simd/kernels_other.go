//go:build purego || (!amd64 && !arm64)

package simd

func available() []path { return []path{pathPure} }

// The functions below do as much of the work as assembly can and return where plain Go goes on: here, at the start.

func (path) skipUncut(_ []byte, _, _, _ uint32, from int) int { return from }

func (path) accumulateGroups(_, _ []float32, _ []uint32) int { return 0 }

func (path) accumulateClippedGroups(_, _ []float32, _ []uint32, _, _ float32) int { return 0 }

func (path) statsGroups(_ *partial, _ []float32) int { return 0 }

func (path) addScaledGroups(_, _ []float32, _ bool) int { return 0 }

func (path) squaresGroups(_ *[squareLanes]float64, _, _ []float32) int { return 0 }

func (path) widenGroups(_ []float32, _ []byte, _ widening) int { return 0 }

func (path) decodeSomeBlocks(_ []float32, _ []byte, _ block) int { return 0 }

// hashLanes does nothing: there is no kernel here.
func (path) hashLanes(_ *[32 * HashLanes]byte, _ []byte, _ *HashJob) bool { return false }
