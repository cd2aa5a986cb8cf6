package kafkaserver

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket calls are ordinary ones. Making small ones without telling the Go scheduler (syscall.RawSyscall) was measured: 128 clients got
// 15 % less, because a thread in the kernel then keeps its processor from the others.

// readSocket is one attempt to read; how much there was, or EAGAIN.
func readSocket(fd int, b []byte) (int, error) { return syscall.Read(fd, b) }

// writeSocket is one attempt to send bufs; how much the socket took, or EAGAIN.
func writeSocket(fd int, bufs [][]byte) (int, error) {
	var n int
	var err error
	if len(bufs) == 1 {
		n, err = syscall.Write(fd, bufs[0])
	} else {
		n, err = unix.Writev(fd, bufs)
	}
	return max(n, 0), err
}
