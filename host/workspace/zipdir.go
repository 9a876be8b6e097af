package workspace

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
)

// Sizes and signatures of the zip format, PKWARE APPNOTE 4.3.
const (
	zipLocalSig, zipLocalLen       = 0x04034b50, 30
	zipCentralSig, zipCentralLen   = 0x02014b50, 46
	zipEndSig, zipEndLen           = 0x06054b50, 22
	zipLocatorSig, zipLocatorLen   = 0x07064b50, 20
	zipEnd64Sig, zipEnd64Len       = 0x06064b50, 56
	zipMaxComment                  = math.MaxUint16
	zipFlagEncrypted, zipFlagPatch = 1<<0 | 1<<6 | 1<<13, 1 << 5
	zipExtra64                     = 0x0001
	zipMethodAES                   = 99
)

// zipEnd is what the end records say of the central directory.
type zipEnd struct {
	entries uint64
	size    uint64
	offset  uint64
}

// zipEntry is one record of the central directory.
type zipEntry struct {
	name     string
	mode     fs.FileMode
	flags    uint16
	method   uint16
	crc      uint32
	packed   uint64
	unpacked uint64
	header   uint64 // offset of its local header
}

// readAt reads exactly len(p) bytes. Callers stay within the archive's size, so
// running out means that there is less of it than was said.
func (w *walker) readAt(p []byte, off int64) error {
	if _, err := w.src.ReadAt(p, off); err != nil {
		return w.src.explain(err, "the zip archive")
	}
	return nil
}

// zipEnd finds the end record and checks that the directory lies exactly
// before it. The last signature counts, as it does for archive/zip, and its
// comment must end with the file: readers that search differently would find
// another directory in the same file.
func (w *walker) zipEnd() (zipEnd, error) {
	var e zipEnd
	tail, i, err := w.zipTail()
	if err != nil {
		return e, err
	}
	start := w.src.size - int64(len(tail))
	rec := tail[i:]
	if comment := int(le16(rec[20:])); comment != len(rec)-zipEndLen {
		return e, refuse(CodeCorrupt, "the zip archive does not end where its end record says")
	}
	disks := uint32(le16(rec[4:])) | uint32(le16(rec[6:]))
	here := uint64(le16(rec[8:]))
	e = zipEnd{entries: uint64(le16(rec[10:])), size: uint64(le32(rec[12:])), offset: uint64(le32(rec[16:]))}
	limit, err := w.zipEnd64(start+int64(i), &e)
	if err != nil {
		return e, err
	}
	if limit == start+int64(i) && (disks != 0 || here != e.entries) {
		return e, refuse(CodeUnsupported, "the zip archive is split over several files")
	}
	if e.entries > uint64(w.lim.Entries) {
		return e, refuse(CodeTooManyEntries, "it has %d files and directories, more than %d", e.entries, w.lim.Entries)
	}
	if e.size > uint64(w.lim.DirectoryBytes) {
		return e, refuse(CodeHeaderTooLarge, "its central directory has %d bytes, more than %d", e.size, w.lim.DirectoryBytes)
	}
	if e.offset > uint64(limit) || e.offset+e.size != uint64(limit) {
		return e, refuse(CodeCorrupt, "the zip archive's central directory is not where its end record says")
	}
	return e, nil
}

// zipTail reads the end of the archive and says where in it the last end record
// begins. Most have no comment, and then it is the last bytes of all.
func (w *walker) zipTail() (tail []byte, at int, err error) {
	for _, longest := range []int64{zipEndLen, zipEndLen + zipMaxComment} {
		tail = make([]byte, min(w.src.size, longest))
		if err := w.readAt(tail, w.src.size-int64(len(tail))); err != nil {
			return nil, 0, err
		}
		if len(tail) < zipEndLen {
			break
		}
		// A signature with less than a record behind it is not one.
		at = bytes.LastIndex(tail[:len(tail)-zipEndLen+4], binary.LittleEndian.AppendUint32(nil, zipEndSig))
		if at >= 0 {
			return tail, at, nil
		}
	}
	return nil, 0, refuse(CodeTruncated, "the zip archive has no end record")
}

// zipEnd64 takes over what a zip64 end record says, when there is one before
// the end record at off. It returns where the central directory must end.
func (w *walker) zipEnd64(off int64, e *zipEnd) (int64, error) {
	if off < zipLocatorLen {
		return off, nil
	}
	var loc [zipLocatorLen]byte
	if err := w.readAt(loc[:], off-zipLocatorLen); err != nil {
		return 0, err
	}
	if le32(loc[:]) != zipLocatorSig {
		return off, nil
	}
	corrupt := refuse(CodeCorrupt, "the zip archive's zip64 end record contradicts it")
	at := le64(loc[8:])
	if at > uint64(off) || uint64(off)-at < zipLocatorLen+zipEnd64Len {
		return 0, corrupt
	}
	var rec [zipEnd64Len]byte
	if err := w.readAt(rec[:], int64(at)); err != nil {
		return 0, err
	}
	if le32(rec[:]) != zipEnd64Sig || le64(rec[4:]) != uint64(off)-at-zipLocatorLen-12 {
		return 0, corrupt
	}
	here := le64(rec[24:])
	big := zipEnd{entries: le64(rec[32:]), size: le64(rec[40:]), offset: le64(rec[48:])}
	if le32(loc[4:])|le32(rec[16:])|le32(rec[20:]) != 0 || le32(loc[16:]) > 1 || here != big.entries {
		return 0, refuse(CodeUnsupported, "the zip archive is split over several files")
	}
	// A reader that knows no zip64 goes by the small fields.
	if (e.entries != math.MaxUint16 && e.entries != big.entries) ||
		(e.size != math.MaxUint32 && e.size != big.size) ||
		(e.offset != math.MaxUint32 && e.offset != big.offset) {
		return 0, corrupt
	}
	*e = big
	return int64(at), nil
}

// zipDirectory streams the central directory to each, in its order.
func (w *walker) zipDirectory(end zipEnd, each func(i int, e zipEntry) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(w.src, int64(end.offset), int64(end.size)), bufferFor(int64(end.size)))
	var fixed [zipCentralLen]byte
	var variable []byte
	for i := range int(end.entries) {
		if _, err := io.ReadFull(r, fixed[:]); err != nil {
			return w.explainDirectory(err)
		}
		if le32(fixed[:]) != zipCentralSig {
			return refuse(CodeCorrupt, "the zip archive's central directory is damaged")
		}
		n := int(le16(fixed[28:])) + int(le16(fixed[30:])) + int(le16(fixed[32:]))
		if cap(variable) < n {
			variable = make([]byte, n)
		}
		variable = variable[:n]
		if _, err := io.ReadFull(r, variable); err != nil {
			return w.explainDirectory(err)
		}
		e, err := parseCentral(&fixed, variable)
		if err != nil {
			return err
		}
		if err := each(i, e); err != nil {
			return err
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		if w.src.err != nil {
			return w.src.err
		}
		return refuse(CodeCorrupt, "the zip archive's central directory has more entries than its end record says")
	}
	return nil
}

func (w *walker) explainDirectory(err error) error {
	if w.src.err != nil {
		return w.src.err
	}
	return refuse(CodeCorrupt, "the zip archive's central directory has fewer entries than its end record says: %v", err)
}

func parseCentral(fixed *[zipCentralLen]byte, variable []byte) (zipEntry, error) {
	nameLen, extraLen := int(le16(fixed[28:])), int(le16(fixed[30:]))
	e := zipEntry{
		name:     string(variable[:nameLen]),
		flags:    le16(fixed[8:]),
		method:   le16(fixed[10:]),
		crc:      le32(fixed[16:]),
		packed:   uint64(le32(fixed[20:])),
		unpacked: uint64(le32(fixed[24:])),
		header:   uint64(le32(fixed[42:])),
	}
	// archive/zip knows how each creator keeps a file's type.
	mode := zip.FileHeader{Name: e.name, CreatorVersion: le16(fixed[4:]), ExternalAttrs: le32(fixed[38:])}
	e.mode = mode.Mode()
	if err := e.zip64(variable[nameLen : nameLen+extraLen]); err != nil {
		return e, err
	}
	if disk := le16(fixed[34:]); disk != 0 {
		return e, refuseEntry(CodeUnsupported, e.name, "it is in another file of a split zip archive")
	}
	return e, e.refuseKind()
}

// zip64 takes the fields that did not fit from the entry's zip64 extra field.
func (e *zipEntry) zip64(extra []byte) error {
	var missing []*uint64
	for _, field := range []*uint64{&e.unpacked, &e.packed, &e.header} {
		if *field == math.MaxUint32 {
			missing = append(missing, field)
		}
	}
	for len(missing) > 0 && len(extra) >= 4 {
		id, n := le16(extra), int(le16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			break
		}
		if id == zipExtra64 && n >= 8*len(missing) {
			for i, field := range missing {
				*field = le64(extra[8*i:])
			}
			return nil
		}
		extra = extra[n:]
	}
	if len(missing) > 0 {
		return refuseEntry(CodeCorrupt, e.name, "its zip64 sizes are missing")
	}
	return nil
}

// refuseKind refuses what we cannot or will not unpack.
func (e *zipEntry) refuseKind() error {
	switch {
	case e.flags&zipFlagEncrypted != 0 || e.method == zipMethodAES:
		return refuseEntry(CodeEncrypted, e.name, "it is encrypted")
	case e.flags&zipFlagPatch != 0:
		return refuseEntry(CodeUnsupported, e.name, "it is a patch")
	case e.method != zip.Store && e.method != zip.Deflate:
		return refuseEntry(CodeUnsupported, e.name, "it is compressed with method %d; only deflate and store are taken", e.method)
	case e.method == zip.Store && e.packed != e.unpacked:
		return refuseEntry(CodeCorrupt, e.name, "it is stored with a packed size other than its size")
	}
	return nil
}

func le16(p []byte) uint16 { return binary.LittleEndian.Uint16(p) }
func le32(p []byte) uint32 { return binary.LittleEndian.Uint32(p) }
func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }
