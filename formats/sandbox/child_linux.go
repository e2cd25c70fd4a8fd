package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"weightwarden/formats"
)

// ask sends a frame with a text and returns the parent's answer of n bytes, with
// a descriptor where there is one.
func (l *link) ask(frame byte, text string, n int) (answer []byte, fd int, err error) {
	msg := binary.AppendUvarint(nil, uint64(frame))
	msg = append(binary.AppendUvarint(msg, uint64(len(text))), text...)
	if _, err := l.control.Write(msg); err != nil {
		return nil, -1, err
	}
	answer, oob := make([]byte, n), make([]byte, unix.CmsgSpace(4))
	got, oobn, _, _, err := unix.Recvmsg(fdControl, answer, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
	if err != nil || got != n {
		return nil, -1, errors.Join(err, io.ErrUnexpectedEOF)
	}
	fd = -1
	if oobn > 0 {
		if msgs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(msgs) == 1 {
			if fds, err := unix.ParseUnixRights(&msgs[0]); err == nil && len(fds) == 1 {
				fd = fds[0]
			}
		}
	}
	return answer, fd, nil
}

func (l *link) sibling(name string) (formats.Source, error) {
	if len(name) > maxName {
		return nil, fmt.Errorf("%w: name of %d bytes", formats.ErrLimit, len(name))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, fd, err := l.ask(frameSibling, name, 8)
	if err != nil {
		return nil, err
	}
	if fd < 0 {
		return nil, fmt.Errorf("%w: %.200q is not beside the file, or may not be opened", formats.ErrNoSiblings, name)
	}
	s := &fdSource{file: os.NewFile(uintptr(fd), "sibling"), size: int64(binary.LittleEndian.Uint64(answer)),
		place: place{kind: placeSibling, index: l.siblings}}
	l.siblings++
	return s, nil
}

func (l *link) names(max int) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, _, err := l.ask(frameNames, "", 8)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(answer)
	if n > maxNames {
		return nil, formats.ErrNoSiblings
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.control, b); err != nil {
		return nil, err
	}
	names := strings.Split(string(b), "\x00")
	return names[:min(len(names)-1, max)], nil // the last is empty
}
