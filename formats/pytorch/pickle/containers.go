package pickle

// containers runs the opcodes that make or fill tuples, lists, dicts and sets.
func (m *machine) containers(op byte) (bool, error) {
	switch op {
	case opEmptyTuple:
		return true, m.pushSeq(Tuple, nil)
	case opEmptyList:
		return true, m.pushSeq(List, nil)
	case opEmptySet:
		return true, m.pushSeq(Set, nil)
	case opEmptyDict:
		return true, m.push(&Dict{}, 24)
	case opTuple1, opTuple2, opTuple3:
		return true, m.shortTuple(int(op-opTuple1) + 1)
	case opTuple:
		return true, m.markedSeq(Tuple)
	case opList:
		return true, m.markedSeq(List)
	case opFrozenSet:
		return true, m.markedSeq(FrozenSet)
	case opDict:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		return true, m.push(&Dict{Pairs: appendPairs(nil, items)}, 24+int64(len(items))*2*wordPair)
	case opAppend, opSetItem:
		return true, m.single(op)
	case opAppends, opSetItems, opAddItems:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		return true, m.fill(op, items)
	}
	return false, nil
}

func (m *machine) pushSeq(k Kind, items []Value) error {
	return m.push(&Seq{Kind: k, Items: items}, 32)
}

func (m *machine) markedSeq(k Kind) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.pushSeq(k, items)
}

func (m *machine) shortTuple(n int) error {
	items := make([]Value, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return err
		}
		items[i] = v
	}
	if err := m.charge(int64(n) * wordPair); err != nil {
		return err
	}
	return m.pushSeq(Tuple, items)
}

// single runs APPEND and SETITEM.
func (m *machine) single(op byte) error {
	n := 1
	if op == opSetItem {
		n = 2
	}
	items := make([]Value, n)
	for i := n - 1; i >= 0; i-- {
		v, err := m.pop()
		if err != nil {
			return err
		}
		items[i] = v
	}
	return m.fill(op, items)
}

// fill adds items to the container on top of the stack. Loaders call the
// object's own append or __setitem__, so a Call takes items as well.
func (m *machine) fill(op byte, items []Value) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	if err := m.charge(int64(len(items)) * 4 * wordPair); err != nil {
		return err
	}
	pairs := op == opSetItem || op == opSetItems
	switch c := top.(type) {
	case *Seq:
		if !pairs && (c.Kind == List || c.Kind == Set) {
			c.Items = append(c.Items, items...)
			return nil
		}
	case *Dict:
		if pairs {
			c.Pairs = appendPairs(c.Pairs, items)
			return nil
		}
	case *Call:
		if pairs {
			c.Pairs = appendPairs(c.Pairs, items)
		} else {
			c.Items = append(c.Items, items...)
		}
		return nil
	}
	m.note("pickle.type", "items are added to a value that takes none")
	return nil
}
