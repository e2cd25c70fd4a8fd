package sevenzip

func (p *parser) unpackInfo(s *streams) {
	if p.u8() != idFolder {
		p.fail("no folders")
	}
	n := p.count()
	if p.u8() != 0 {
		p.fail("folders in another stream")
	}
	for range n {
		if p.err != nil {
			return
		}
		s.folders = append(s.folders, p.folder())
	}
	if p.u8() != idUnpackSize {
		p.fail("no sizes")
	}
	for i := range s.folders {
		s.folders[i].sizes = p.numbers(len(s.folders[i].coders))
	}
	for p.err == nil {
		switch t := p.u8(); t {
		case idEnd:
			for i := range s.folders { // without sub-streams every folder is one
				s.folders[i].streams = []int64{s.folders[i].size()}
			}
			return
		case idCRC:
			for i, d := range p.digests(n) {
				s.folders[i].checked = d
			}
		default:
			p.fail("property %#x in unpack info", t)
		}
	}
}

// folder reads one folder. Coders of several streams (BCJ2) are read over, and
// leave order empty.
func (p *parser) folder() folder {
	var f folder
	ins, outs, plain := 0, 0, true
	for range p.count() {
		flags := p.u8()
		c := coder{}
		for _, b := range p.bytes(int(flags & 0xf)) {
			c.id = c.id<<8 | uint64(b)
		}
		in, out := 1, 1
		if flags&0x10 != 0 {
			in, out = p.count(), p.count()
		}
		if flags&0x20 != 0 {
			c.props = p.bytes(p.count())
		}
		if p.err != nil {
			return f
		}
		plain = plain && in == 1 && out == 1 && flags&0xc0 == 0
		ins, outs = ins+in, outs+out
		f.coders = append(f.coders, c)
	}
	if outs != len(f.coders) || outs == 0 || ins > len(p.b) {
		p.fail("folder of %d coders with %d outputs", len(f.coders), outs)
		return f
	}
	feeds := make(map[int]int, outs) // input -> output
	for range outs - 1 {
		in, out := p.count(), p.count()
		feeds[in] = out
	}
	if f.packed = ins - (outs - 1); f.packed > 1 {
		p.numbers(f.packed)
	}
	if p.err == nil && plain {
		f.chain(feeds)
	}
	return f
}

// chain orders the coders from the one whose input is the archive.
func (f *folder) chain(feeds map[int]int) {
	next, consumed := map[int]int{}, 0 // output -> coder that takes it
	start := -1
	for i := range f.coders {
		out, fed := feeds[i]
		if !fed {
			start = i
			continue
		}
		next[out] = i
		consumed++
	}
	if start < 0 || consumed != len(f.coders)-1 {
		return
	}
	order := []int{start}
	for len(order) < len(f.coders) {
		i, ok := next[order[len(order)-1]]
		if !ok || i == start {
			return
		}
		order = append(order, i)
	}
	f.order, f.mainOut = order, order[len(order)-1]
}

// subStreams reads how folders are cut into files.
func (p *parser) subStreams(s *streams) {
	counts := make([]int, len(s.folders))
	for i := range counts {
		counts[i] = 1
	}
	t := p.u8()
	if t == idStreamCount {
		for i := range counts {
			counts[i] = p.count()
		}
		t = p.u8()
	}
	total := 0
	for i := range s.folders {
		f := &s.folders[i]
		f.streams = nil
		left := f.size()
		for j := range counts[i] {
			n := left
			if j < counts[i]-1 && t == idSize {
				n = p.number()
			}
			if p.err != nil || n > left {
				p.fail("stream of %d bytes, %d left", n, left)
				return
			}
			f.streams = append(f.streams, n)
			left -= n
		}
		if total += counts[i]; total > len(p.b)*8 {
			p.fail("%d streams", total)
			return
		}
	}
	if t == idSize {
		t = p.u8()
	}
	if t == idCRC {
		n := 0
		for i := range s.folders {
			if f := &s.folders[i]; len(f.streams) != 1 || !f.checked {
				n += len(f.streams)
			}
		}
		p.digests(n)
		t = p.u8()
	}
	if t != idEnd {
		p.fail("property %#x in sub-streams", t)
	}
}
