package gguf

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weightwarden/formats"
)

// The types of metadata values.
const (
	typeU8 = iota
	typeI8
	typeU16
	typeI16
	typeU32
	typeI32
	typeF32
	typeBool
	typeString
	typeArray
	typeU64
	typeI64
	typeF64
)

var typeNames = [...]string{"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"}
var typeSizes = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// shownElements is how many elements of an array are kept as text.
const shownElements = 8

// keptKeys is how many keys are kept; models have some dozens.
const keptKeys = 4096

// metadata reads count keys and their values.
func (p *parser) metadata(count uint64) error {
	seen := map[string]bool{}
	for i := uint64(0); i < count; i++ {
		if i%4096 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		at := p.in.Offset()
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			p.find("key", formats.Warning, at, "key %.200q stands in the metadata more than once", key)
		}
		if len(seen) < keptKeys {
			seen[key] = true
		}
		typ, err := p.in.U32()
		if err != nil {
			return err
		}
		value, n, err := p.value(typ)
		if err != nil {
			return fmt.Errorf("key %.200q: %w", key, err)
		}
		p.special(key, typ, n, at)
		if i < keptKeys {
			p.model.Metadata = append(p.model.Metadata, formats.KeyValue{Key: key, Value: formats.Cut(value, p.limits.NameBytes)})
		}
	}
	if count > keptKeys {
		p.find("keys", formats.Warning, -1, "%d keys of metadata, of which %d were kept", count, keptKeys)
	}
	return nil
}

// special keeps the values that decide how the rest is read.
func (p *parser) special(key string, typ uint32, n uint64, at int64) {
	switch key {
	case "general.alignment":
		if typ != typeU32 || n == 0 || n&(n-1) != 0 || n > 1<<20 {
			p.find("alignment", formats.Warning, at, "alignment %d of type %s: other readers may place the data elsewhere", n, typeNames[typ])
		}
		if n > 0 && n <= 1<<30 {
			p.alignment = int64(n)
		}
	case "split.no":
		p.split.no = n
	case "split.count":
		p.split.count = n
	case "split.tensors.count":
		p.split.tensors = n
	}
}

// value reads one value: as text, and as a number where it is a natural one.
func (p *parser) value(typ uint32) (string, uint64, error) {
	switch {
	case typ == typeString:
		s, err := p.text()
		return s, 0, err
	case typ == typeArray:
		s, err := p.array()
		return s, 0, err
	case typ < uint32(len(typeSizes)):
		return p.scalar(typ)
	}
	return "", 0, fmt.Errorf("%w: value type %d", formats.ErrMalformed, typ)
}

func (p *parser) scalar(typ uint32) (string, uint64, error) {
	var v uint64
	var err error
	switch typeSizes[typ] {
	case 1:
		var b byte
		b, err = p.in.U8()
		v = uint64(b)
	case 2:
		var w uint16
		w, err = p.in.U16()
		v = uint64(w)
	case 4:
		var w uint32
		w, err = p.in.U32()
		v = uint64(w)
	default:
		v, err = p.in.U64()
	}
	return scalarText(typ, v), v, err
}

func scalarText(typ uint32, v uint64) string {
	switch typ {
	case typeI8:
		return strconv.FormatInt(int64(int8(v)), 10)
	case typeI16:
		return strconv.FormatInt(int64(int16(v)), 10)
	case typeI32:
		return strconv.FormatInt(int64(int32(v)), 10)
	case typeI64:
		return strconv.FormatInt(int64(v), 10)
	case typeF32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(v))), 'g', -1, 32)
	case typeF64:
		return strconv.FormatFloat(math.Float64frombits(v), 'g', -1, 64)
	case typeBool:
		return strconv.FormatBool(v != 0)
	}
	return strconv.FormatUint(v, 10)
}

// level is an array that is being read inside of others.
type level struct {
	typ  uint32
	left uint64
}

// array reads an array, nested ones too, and returns its first elements as text.
// It keeps a list of open arrays instead of calling itself.
func (p *parser) array() (string, error) {
	var text strings.Builder
	var open []level
	shown := 0
	for {
		l, err := p.arrayHead()
		if err != nil {
			return "", err
		}
		if len(open) >= p.limits.Depth {
			return "", fmt.Errorf("%w: arrays nested over %d levels", formats.ErrLimit, p.limits.Depth)
		}
		fmt.Fprintf(&text, "%s[%d]", typeNames[l.typ], l.left)
		if l.typ != typeArray {
			if err := p.elements(l, &text, &shown); err != nil {
				return "", err
			}
			l.left = 0
		}
		open = append(open, l)
		for len(open) > 0 && open[len(open)-1].left == 0 {
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return formats.Cut(text.String(), p.limits.NameBytes), nil
		}
		open[len(open)-1].left--
		if text.Len() > p.limits.NameBytes {
			text.Reset() // only the start is wanted, and that is long enough
			text.WriteString("array ...")
		}
		if p.ctx.Err() != nil {
			return "", p.ctx.Err()
		}
	}
}

func (p *parser) arrayHead() (level, error) {
	typ, err := p.in.U32()
	if err != nil {
		return level{}, err
	}
	if typ >= uint32(len(typeNames)) {
		return level{}, fmt.Errorf("%w: element type %d", formats.ErrMalformed, typ)
	}
	n, err := p.number()
	if n > uint64(p.in.Left()) && err == nil {
		err = fmt.Errorf("%w: an array of %d elements, %d bytes left", formats.ErrTruncated, n, p.in.Left())
	}
	return level{typ, n}, err
}

// elements reads the elements of an array that holds no arrays.
func (p *parser) elements(l level, text *strings.Builder, shown *int) error {
	sep := byte('{')
	i := uint64(0)
	for ; i < l.left && (*shown < shownElements || l.typ == typeString); i++ {
		if *shown >= shownElements {
			n, err := p.number()
			if err == nil {
				err = p.in.SkipArray(n, 1)
			}
			if err != nil {
				return err
			}
			continue
		}
		s, _, err := p.value(l.typ)
		if err != nil {
			return err
		}
		text.WriteByte(sep)
		if l.typ == typeString {
			s = strconv.Quote(formats.Cut(s, 100))
		}
		text.WriteString(s)
		sep, *shown = ' ', *shown+1
	}
	if sep == ' ' {
		if i < l.left || *shown >= shownElements && l.left > uint64(*shown) {
			text.WriteString(" ...")
		}
		text.WriteByte('}')
	}
	return p.in.SkipArray(l.left-i, typeSizes[l.typ])
}
