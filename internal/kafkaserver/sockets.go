package kafkaserver

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawBytes is the largest transfer made without telling the Go scheduler. Sockets do not block here, and a transfer of that size takes
// some microseconds: leaving and entering the scheduler, and its guess that the thread may be gone for long, would cost as much.
const rawBytes = 64 << 10

// readSocket is one attempt to read; how much there was, or EAGAIN.
func readSocket(fd int, b []byte) (int, error) {
	if len(b) == 0 || len(b) > rawBytes {
		return syscall.Read(fd, b)
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// writeSocket is one attempt to send bufs; how much the socket took, or EAGAIN.
func writeSocket(fd int, bufs [][]byte) (int, error) {
	if len(bufs) > 1 {
		n, err := unix.Writev(fd, bufs)
		return max(n, 0), err
	}
	b := bufs[0]
	if len(b) == 0 || len(b) > rawBytes {
		n, err := syscall.Write(fd, b)
		return max(n, 0), err
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
