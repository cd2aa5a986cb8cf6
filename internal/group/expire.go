package group

// expire deletes the offsets whose retention is over, and groups that are empty and have none left. It goes on
// until it has appended about maxRecords, and tells whether to call it again.
func (m *machine) expire(maxRecords int) (more bool) {
	written, appended := 0, m.appended
	for _, g := range m.groups {
		if written >= maxRecords {
			return m.appended > appended // else nothing can be appended now
		}
		gone := m.expired(g)
		if g.state == Empty && len(g.pending) == 0 && len(gone) == g.countOffsets() {
			written += len(gone) + 1
			m.log.Info("group expires", "group", g.id, "offsets", len(gone))
			m.deleteEmpty(g, m.logExpiry(g.id))
			continue
		}
		if len(gone) == 0 {
			continue
		}
		records := make([]record, 0, len(gone))
		for _, d := range gone {
			records = append(records, record{offsetKey(g.id, d.topic, d.partition), nil})
		}
		written += len(gone)
		m.log.Info("offsets expire", "group", g.id, "offsets", len(gone))
		m.remove(g, records, gone, m.logExpiry(g.id))
	}
	return false
}

func (m *machine) logExpiry(group string) func(error) {
	return func(err error) {
		if err != nil {
			m.log.Warn("cannot expire offsets", "group", group, "err", err)
		}
	}
}

func (g *group) countOffsets() (n int) {
	for _, partitions := range g.offsets {
		n += len(partitions)
	}
	return n
}

// expired finds the offsets whose retention is over. It counts from the commit for simple groups and for topics that no member reads
// any more, and from the day that the last member left otherwise; an expiry given with the commit wins.
func (m *machine) expired(g *group) (gone []deletedOffset) {
	retentionMs := m.cfg.OffsetsRetention.Milliseconds()
	switch {
	case g.state == Empty:
	case g.state == Stable && g.protocolType == consumerProtocol && g.subscribedKnown:
	default:
		return nil
	}
	for topic, partitions := range g.offsets {
		if g.subscribes(topic) {
			continue
		}
		for partition, o := range partitions {
			since := o.commitMs
			if g.state == Empty && g.protocolType != "" {
				since = max(g.sinceMs, o.commitMs)
			}
			over := m.nowMs()-since >= retentionMs
			if o.expireMs >= 0 {
				over = m.nowMs() >= o.expireMs
			}
			if over {
				gone = append(gone, deletedOffset{topic, partition})
			}
		}
	}
	return gone
}
