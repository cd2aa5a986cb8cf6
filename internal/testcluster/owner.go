package testcluster

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// dialer finds the node whose process has dialled; -1 if it is none of them (any more).
func (n *Network) dialer(front *net.TCPConn) int {
	inode, ok := socketInode(front.RemoteAddr().(*net.TCPAddr).AddrPort(), front.LocalAddr().(*net.TCPAddr).AddrPort())
	if !ok {
		return -1
	}
	want := fmt.Sprintf("socket:[%s]", inode)
	for node, pid := range n.pids() {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && target == want {
				return node
			}
		}
	}
	return -1
}

// socketInode looks up the socket of this machine with these two ends.
func socketInode(local, remote netip.AddrPort) (inode string, ok bool) {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", false
	}
	l, r := hexAddress(local), hexAddress(remote)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == l && f[2] == r {
			return f[9], true
		}
	}
	return "", false
}

// hexAddress is an IPv4 address as /proc/net/tcp has it.
func hexAddress(a netip.AddrPort) string {
	ip := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%s", binary.NativeEndian.Uint32(ip[:]), strings.ToUpper(fmt.Sprintf("%04s", strconv.FormatUint(uint64(a.Port()), 16))))
}
