// Package group is the coordinator of classic consumer groups: who is a member, which generation the group is in, who assigns what to
// whom, and up to where the group has read.
package group
