package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/kafkaserver"
	"github.com/chronik-io/chronik/internal/membership"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/wal"
)

// clientListener is the name of the listener for clients, as Kafka's requests and registrations use it.
const clientListener = "PLAINTEXT"

// openStore recovers the node WAL and all partitions.
func (n *Node) openStore() error {
	store, err := partition.OpenStore(partition.StoreOptions{
		FS:           n.disk,
		Dir:          n.c.DataDir,
		WAL:          wal.Options{MaxBytes: n.c.WALBytes, OnFatal: n.fatal, Logger: n.logger.With("log", "wal")},
		MinFreeBytes: uint64(n.c.MinFreeBytes),
		Logger:       n.logger,
	})
	if err != nil {
		return fmt.Errorf("recover partitions: %w", n.withHint(err))
	}
	n.store = store
	n.onStop("partitions", func(context.Context) error { return store.Close() })
	return nil
}

// openMetadata recovers the metadata log and, where there is nobody else, starts the election. A claim that is committed before the log
// runs waits.
func (n *Node) openMetadata() error {
	self := n.self()
	transport := peer.MetalogTransport(n.mesh)
	meta, err := metalog.Open(metalog.Options{
		FS:   n.disk,
		Dir:  filepath.Join(n.c.DataDir, dirMetadata),
		Self: self, Boot: n.id.Boot, Nonce: n.nonce,
		Genesis:   n.genesis.log(),
		Transport: transport,
		OnHalt:    n.fatal,
		Logger:    n.logger,
	})
	if err != nil {
		return fmt.Errorf("recover metadata: %w", n.withHint(err))
	}
	n.meta = meta
	n.onStop("metadata log", func(context.Context) error { return meta.Close() })
	transport.Deliver(meta.Deliver)
	if len(n.genesis.Founders) > 1 {
		return nil // no vote before the node can follow
	}
	return n.startElection()
}

// startElection starts Raft. Its first configuration is the genesis, on every founder.
func (n *Node) startElection() error {
	self := n.self()
	member := membership.Member{NodeID: self.NodeID, DiskID: self.DiskID, Address: advertised(n.c.Advertise.Raft, n.ports.raft), Voter: true}
	founders := []membership.Member{member}
	if len(n.genesis.Founders) > 1 {
		founders = founders[:0]
		for _, f := range n.genesis.Founders {
			founders = append(founders, membership.Member{NodeID: f.NodeID, DiskID: f.DiskID, Address: f.Raft, Voter: true})
		}
	}
	var err error
	n.members, err = membership.Open(membership.Options{
		Dir:       filepath.Join(n.c.DataDir, dirRaft),
		ClusterID: n.id.ClusterID,
		Self:      member,
		BootNonce: n.nonce,
		Founders:  founders,
		Listener:  n.ports.raft,
		OnClaim:   func(c membership.Claim) { n.meta.Claimed(c.Term, n.ballot()) },
		OnFatal:   n.fatal,
		Logger:    n.logger,
	})
	if err != nil {
		return fmt.Errorf("start election: %w", n.withHint(err))
	}
	n.onStop("election", func(context.Context) error { return n.members.Close() })
	n.bansMu.Lock()
	banned := n.bans
	n.electing, n.bans = n.members, nil
	n.bansMu.Unlock()
	for _, m := range append(banned, n.meta.Status().Banned...) {
		n.banVoter(m)
	}
	return nil
}

// ballot is this process's, without a term.
func (n *Node) ballot() metalog.Ballot { return metalog.Ballot{Member: n.self(), Nonce: n.nonce} }

// build makes what works on the two logs and subscribes it to the metadata, in the order in which it has to see a change.
func (n *Node) build(context.Context) error {
	n.controller = controller.New(controller.Options{Log: n.meta, NodeID: n.id.NodeID, Static: n.static, Logger: n.logger})
	n.incarnation = controller.Incarnation(n.nonce)
	watch := &groupWatch{nodeID: n.id.NodeID}
	n.replicas = replica.NewSet(replica.Options{
		NodeID:      n.id.NodeID,
		Incarnation: n.incarnation,
		Store:       n.store,
		Settings:    n.topicSetting,
		Open:        n.mesh.Open,
		ChangeISR:   n.changeISR,
		Compare:     n.compare,
		Fatal:       n.fatal,
		Retried:     func() { watch.refresh(n.meta.Image()) },
		Logger:      n.logger,
	})
	n.groups = group.New(n.groupConfig(), groupLog{n.meta, n.replicas, n.store})
	n.meta.Subscribe(n.replicas.Apply)
	watch.replicas, watch.coordinator = n.replicas, n.groups
	n.meta.Subscribe(watch.apply)
	n.meta.SubscribeRole(func(leads bool, epoch uint64) {
		n.logger.Info("controller role", "leads", leads, "epoch", epoch)
		n.poke()
	})
	n.meta.Subscribe(n.followImage)
	n.broker = newBroker(n, watch)
	return nil
}

// startMetadata loads the recovered image, joins the others, and registers this process as a new incarnation of the broker: every
// partition that it leads gets a new leader epoch.
func (n *Node) startMetadata(ctx context.Context) error {
	if err := n.replicas.Load(n.meta.Image()); err != nil {
		return fmt.Errorf("load replicas: %w", err)
	}
	n.meta.Start()
	if err := n.meta.AwaitBoot(ctx); err != nil {
		return fmt.Errorf("record this start: %w", err)
	}
	n.replicate()
	n.join()
	if n.members == nil {
		if err := n.startElection(); err != nil {
			return err
		}
	}
	n.run("failover", n.watchLeader)
	return n.register(ctx)
}

// serve starts what works on its own until the node stops, and opens the door.
func (n *Node) serve(ctx context.Context) error {
	n.run("store", n.store.Run)
	n.run("replicas", n.replicas.Run)
	n.run("groups", n.groups.Run)
	n.run("space", n.watchSpace)
	n.run("memory", n.watchMemory)
	n.run("controller", n.controller.Run)
	n.broker.start()
	if err := n.startKafka(); err != nil {
		return err
	}
	n.onStop("leadership", n.resign)
	return n.broker.enter(ctx)
}

// run starts background work. An error of it is fatal, as what it keeps up is needed.
func (n *Node) run(name string, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := work(ctx)
		if err != nil && ctx.Err() == nil {
			n.fatal(fmt.Errorf("%s: %w", name, err))
		}
		done <- err
	}()
	n.onStop(name, func(context.Context) error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

func (n *Node) startKafka() error {
	server, err := kafkaserver.New(kafkaserver.Deps{
		NodeID: n.id.NodeID, ClusterID: n.id.ClusterID, Config: n.c, Meta: n.meta, Controller: n.controller,
		Replicas: n.replicas, Store: n.store, Groups: n.groups, Logger: n.logger, Started: n.o.Started, SyncTimes: n.syncTimes, Peers: n.peerStates, Cluster: n.broker,
	}, n.limits())
	if err != nil {
		return err
	}
	n.kafka = server
	if err := n.doorman.leave(context.Background()); err != nil {
		return err
	}
	go func() {
		err := server.Serve(kafkaserver.Listener{Name: clientListener, Net: n.ports.kafka})
		if !errors.Is(err, kafkaserver.ErrServerClosed) {
			n.fatal(fmt.Errorf("kafka port: %w", err))
		}
	}()
	n.onStop("kafka port", server.Shutdown)
	return nil
}

// startHTTP opens the http port, unless it is off. It answers before the node serves, so that a long recovery can be seen.
func (n *Node) startHTTP() {
	if n.ports.http == nil {
		return
	}
	h := startHTTP(n.ports.http, n.registry(), n.healthy, n.ready, n.logger)
	n.onStop("http port", h.stop)
}

// setting is the value of a broker setting with which this node was started.
func (n *Node) setting(name string) int64 {
	return config.BrokerInt(name, config.Layers{Static: n.static})
}

// topicSetting looks up what holds for a topic: its own value, the broker's, or the default.
func (n *Node) topicSetting(im *metadata.Image, topic, name string) string {
	layers := controller.Layers(im, n.static, n.id.NodeID, topic)
	if config.TopicSetting(name) != nil {
		return config.TopicString(name, layers)
	}
	return config.BrokerString(name, layers)
}

// groupConfig takes over the settings of groups; the coordinator's own bounds stay at their defaults.
func (n *Node) groupConfig() group.Config {
	ms := func(name string) time.Duration { return time.Duration(n.setting(name)) * time.Millisecond }
	return group.Config{
		MinSessionTimeout:     ms(config.GroupMinSessionTimeoutMs),
		MaxSessionTimeout:     ms(config.GroupMaxSessionTimeoutMs),
		InitialRebalanceDelay: ms(config.GroupInitialRebalanceDelayMs),
		MaxGroupSize:          int(n.setting(config.GroupMaxSize)),
		OffsetMetadataMax:     int(n.setting(config.OffsetMetadataMaxBytes)),
		OffsetsRetention:      time.Duration(n.setting(config.OffsetsRetentionMinutes)) * time.Minute,
		RetentionCheck:        ms(config.OffsetsRetentionCheckMs),
		CommitTimeout:         ms(config.OffsetsCommitTimeoutMs),
		Logger:                n.logger,
	}
}

// limits takes over the settings of connections that were given; where Kafka has no bound by default, the server has one.
func (n *Node) limits() kafkaserver.Limits {
	given := func(name string) int {
		if _, ok := n.static[name]; !ok {
			return 0
		}
		return int(n.setting(name))
	}
	return kafkaserver.Limits{
		RequestMaxBytes: given(config.SocketRequestMaxBytes),
		MaxConnections:  given(config.MaxConnections),
		MaxPerIP:        given(config.MaxConnectionsPerIP),
		IdleTimeout:     time.Duration(given(config.ConnectionsMaxIdleMs)) * time.Millisecond,
	}
}
