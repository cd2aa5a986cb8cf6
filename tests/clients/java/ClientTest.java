import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client against a server, with its defaults. The first argument is the addresses of the server's nodes. */
public class ClientTest {
    static String server;
    static int failed;

    interface Case {
        void run() throws Exception;
    }

    static void test(String name, Case c) {
        long begin = System.nanoTime();
        try {
            c.run();
            System.out.printf("ok - %s (%d ms)%n", name, (System.nanoTime() - begin) / 1_000_000);
        } catch (Throwable e) {
            failed++;
            System.out.println("not ok - " + name + ": " + e);
            e.printStackTrace(System.out);
        }
    }

    static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }

    static void same(Object got, Object want, String what) {
        check(want.equals(got), what + ": got " + got + ", want " + want);
    }

    static String name(String what) {
        return "java-" + what + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    static Properties config(Object... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", server);
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], pairs[i + 1]);
        }
        return p;
    }

    static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(config(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, Object... pairs) {
        Properties p = config(pairs);
        p.putIfAbsent("auto.offset.reset", "earliest");
        if (group != null) {
            p.put("group.id", group);
        } else {
            p.put("enable.auto.commit", "false");
        }
        return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    }

    static List<RecordMetadata> send(KafkaProducer<String, String> p, String topic, int from, int to, int size) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) {
            sent.add(p.send(new ProducerRecord<>(topic, "key " + i, value(i, size))));
        }
        List<RecordMetadata> all = new ArrayList<>();
        for (Future<RecordMetadata> f : sent) {
            all.add(f.get(30, TimeUnit.SECONDS));
        }
        return all;
    }

    static String value(int i, int size) {
        String v = "value " + i + " ";
        return v.length() >= size ? v : v + "x".repeat(size - v.length());
    }

    static Set<String> values(int from, int to, int size) {
        Set<String> all = new HashSet<>();
        for (int i = from; i < to; i++) {
            all.add(value(i, size));
        }
        return all;
    }

    static List<String> read(KafkaConsumer<String, String> c, int count) {
        List<String> got = new ArrayList<>();
        long end = System.currentTimeMillis() + 60_000;
        while (got.size() < count && System.currentTimeMillis() < end) {
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(500))) {
                got.add(r.value());
            }
        }
        return got;
    }

    static void readSame(String topic, int from, int to, int size, Object... pairs) {
        try (KafkaConsumer<String, String> c = consumer(name("g"), pairs)) {
            c.subscribe(List.of(topic));
            List<String> got = read(c, to - from);
            same(got.size(), to - from, "records read");
            same(new HashSet<>(got), values(from, to, size), "values");
        }
    }

    static void topicThatNobodyCreated() throws Exception {
        String topic = name("auto");
        try (KafkaProducer<String, String> p = producer()) {
            List<RecordMetadata> m = send(p, topic, 0, 100, 0);
            for (int i = 0; i < 100; i++) {
                same(m.get(i).offset(), (long) i, "offset");
            }
        }
        readSame(topic, 0, 100, 0);
    }

    static void codecs() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = name(codec);
            try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", "5")) {
                send(p, topic, 0, 500, 300);
            }
            readSame(topic, 0, 500, 300);
        }
    }

    static void notIdempotent() throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String topic = name("acks" + acks);
            try (KafkaProducer<String, String> p = producer("enable.idempotence", "false", "acks", acks)) {
                send(p, topic, 0, 200, 0);
            }
            readSame(topic, 0, 200, 0, "isolation.level", "read_committed");
        }
    }

    static void largeMessages() throws Exception {
        String topic = name("large");
        try (KafkaProducer<String, String> p = producer("max.request.size", "4194304")) {
            send(p, topic, 0, 5, 900_000);
            try {
                send(p, topic, 5, 6, 2 << 20);
                throw new AssertionError("a message of 2 MiB was accepted");
            } catch (ExecutionException e) {
                check(e.getCause() instanceof RecordTooLargeException, "2 MiB: " + e.getCause());
            }
        }
        readSame(topic, 0, 5, 900_000);
    }

    static void groups(Object... pairs) throws Exception {
        String topic = name("group"), group = name("g");
        try (Admin admin = Admin.create(config()); KafkaProducer<String, String> p = producer()) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(6), Optional.empty()))).all().get();
            send(p, topic, 0, 300, 0);
            KafkaConsumer<String, String> a = consumer(group, pairs);
            a.subscribe(List.of(topic));
            same(new HashSet<>(read(a, 300)), values(0, 300, 0), "first reader");
            a.commitSync();
            KafkaConsumer<String, String> b = consumer(group, pairs);
            b.subscribe(List.of(topic));
            settle(List.of(a, b), List.of(3, 3));
            a.close();
            settle(List.of(b), List.of(6));
            send(p, topic, 300, 400, 0);
            same(new HashSet<>(read(b, 100)), values(300, 400, 0), "reader after the rebalance");
            b.close();
            long committed = 0;
            for (var e : admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values()) {
                committed += e.offset();
            }
            same(committed, 400L, "sum of committed offsets");
            admin.deleteConsumerGroups(List.of(group)).all().get();
        }
    }

    static void settle(List<KafkaConsumer<String, String>> consumers, List<Integer> want) {
        List<Integer> got = List.of();
        for (long end = System.currentTimeMillis() + 40_000; System.currentTimeMillis() < end; ) {
            List<Integer> now = new ArrayList<>();
            for (KafkaConsumer<String, String> c : consumers) {
                c.poll(Duration.ofMillis(100));
                now.add(c.assignment().size());
            }
            Collections.sort(now);
            got = now;
            if (got.equals(want)) {
                return;
            }
        }
        throw new AssertionError("members have " + got + " partitions, want " + want);
    }

    static void times() throws Exception {
        String topic = name("times");
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(); KafkaConsumer<String, String> c = consumer(null)) {
            for (int i = 0; i < 10; i++) {
                p.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i * 1000, "k", "v" + i)).get();
            }
            c.assign(List.of(tp));
            same(c.endOffsets(List.of(tp)).get(tp), 10L, "end");
            same(c.offsetsForTimes(Map.of(tp, 1_700_000_004_500L)).get(tp).offset(), 5L, "offset for time");
            c.seek(tp, 8);
            same(read(c, 2), List.of("v8", "v9"), "from offset 8");
        }
        try (Admin admin = Admin.create(config())) {
            var max = admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get();
            same(max.offset(), 9L, "offset of the largest timestamp");
        }
    }

    static void admin() throws Exception {
        String topic = name("admin");
        TopicPartition tp = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(config()); KafkaProducer<String, String> p = producer()) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(3), Optional.empty()).configs(Map.of("retention.ms", "3600000")))).all().get();
            try {
                admin.createTopics(List.of(new NewTopic(topic, Optional.of(3), Optional.empty()))).all().get();
                throw new AssertionError("created twice");
            } catch (ExecutionException e) {
                check(e.getCause() instanceof TopicExistsException, "twice: " + e.getCause());
            }
            TopicDescription d = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            same(d.partitions().size(), 3, "partitions");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            same(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 5, "partitions after the increase");
            ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            admin.incrementalAlterConfigs(Map.of(r, List.<AlterConfigOp>of(new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET)))).all().get();
            Config c = admin.describeConfigs(List.of(r)).all().get().get(r);
            same(c.get("max.message.bytes").value(), "2000000", "max.message.bytes");
            same(c.get("retention.ms").value(), "3600000", "retention.ms");
            for (int i = 0; i < 20; i++) {
                p.send(new ProducerRecord<>(topic, 0, "k", "v" + i)).get();
            }
            same(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(5))).lowWatermarks().get(tp).get().lowWatermark(), 5L, "low watermark");
            check(admin.describeCluster().nodes().get().size() == server.split(",").length, "nodes");
            check(admin.describeMetadataQuorum().quorumInfo().get().leaderId() > 0, "leader of the quorum");
            check(!admin.describeLogDirs(List.of(1)).allDescriptions().get().isEmpty(), "log dirs");
            admin.deleteTopics(List.of(topic)).all().get();
            check(!admin.listTopics().names().get().contains(topic), "deleted topic is listed");
        }
    }

    public static void main(String[] args) {
        server = args[0];
        test("topic that nobody created", ClientTest::topicThatNobodyCreated);
        test("codecs", ClientTest::codecs);
        test("acks without idempotence", ClientTest::notIdempotent);
        test("large messages", ClientTest::largeMessages);
        test("groups, eager", () -> groups("partition.assignment.strategy", RangeAssignor.class.getName()));
        test("groups, cooperative", () -> groups("partition.assignment.strategy", CooperativeStickyAssignor.class.getName()));
        test("groups, static members", () -> staticMember());
        test("times and offsets", ClientTest::times);
        test("admin", ClientTest::admin);
        System.exit(failed == 0 ? 0 : 1);
    }

    /** A static member that comes back within its session gets its partitions again without a rebalance. */
    static void staticMember() throws Exception {
        String topic = name("static"), group = name("g");
        try (Admin admin = Admin.create(config())) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(2), Optional.empty()))).all().get();
            Object[] id = {"group.instance.id", "one"};
            KafkaConsumer<String, String> a = consumer(group, id);
            a.subscribe(List.of(topic));
            settle(List.of(a), List.of(2));
            int generation = a.groupMetadata().generationId();
            a.close();
            KafkaConsumer<String, String> b = consumer(group, id);
            b.subscribe(List.of(topic));
            settle(List.of(b), List.of(2));
            same(b.groupMetadata().generationId(), generation, "generation");
            b.close();
        }
    }
}
