import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client on three nodes that are killed one after the other (kills.sh). The first argument is their addresses; the working
 * directory is the one above this file's. A producer waits for the acknowledgement of each few records, a member of a group reads and
 * commits. What was acknowledged is there once, in the order of its key; the group reads all of it and begins where it committed.
 */
public class KilledTest {
    static final int KEYS = 12, PARTITIONS = 6;
    static final long PATIENCE = 60_000; // ms, for what takes one second on a machine that has nothing else to do
    static String server;
    static final String topic = "java-killed-" + UUID.randomUUID().toString().substring(0, 8), group = topic + "-group";
    static final Set<Integer> again = ConcurrentHashMap.newKeySet(); // their first attempt ended in an error: they may be there twice
    static volatile int next; // number to be written
    static volatile boolean stop;

    static void check(boolean ok, String what) {
        if (!ok) {
            throw new AssertionError(what);
        }
    }

    static Properties config(Object... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", server);
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], pairs[i + 1]);
        }
        return p;
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        Properties p = config(pairs);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    }

    static KafkaConsumer<String, String> member() {
        KafkaConsumer<String, String> c = consumer("group.id", group);
        c.subscribe(List.of(topic));
        return c;
    }

    /** Sends some numbers and returns when all are acknowledged. */
    static void batch(KafkaProducer<String, String> p) throws Exception {
        List<Integer> left = new ArrayList<>();
        for (int i = 0; i < KEYS; i++) {
            left.add(next + i);
        }
        for (long end = System.currentTimeMillis() + PATIENCE; !left.isEmpty(); ) {
            Map<Integer, Future<?>> sent = new HashMap<>();
            for (int n : left) {
                sent.put(n, p.send(new ProducerRecord<>(topic, "" + n % KEYS, "" + n)));
            }
            List<Integer> failed = new ArrayList<>();
            for (int n : left) {
                try {
                    sent.get(n).get(PATIENCE, TimeUnit.MILLISECONDS);
                } catch (ExecutionException e) {
                    System.out.println("# record " + n + ": " + e.getCause());
                    again.add(n);
                    failed.add(n);
                }
            }
            left = failed;
            check(left.isEmpty() || System.currentTimeMillis() < end, "not acknowledged in " + PATIENCE + " ms: " + left);
        }
        next += KEYS;
    }

    static Void write(KafkaProducer<String, String> p) throws Exception {
        while (!stop) {
            batch(p);
            Thread.sleep(5);
        }
        return null;
    }

    /** Reads and commits until all that was written has been read, and committed to the end. */
    static Void read(KafkaConsumer<String, String> c, Set<Integer> seen, Future<Void> writer) {
        long end = 0, commitAt = 0;
        for (;;) {
            boolean all = (writer == null || writer.isDone()) && seen.size() >= next;
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200))) {
                seen.add(Integer.parseInt(r.value()));
                end = 0;
            }
            long now = System.currentTimeMillis();
            if (all || now > commitAt) {
                commitAt = now + 300;
                try {
                    c.commitSync(Duration.ofMillis(PATIENCE));
                    if (all && atEnd(c)) {
                        return null;
                    }
                } catch (CommitFailedException | RetriableException e) { // the group rebalances: what is not committed is read again
                    System.out.println("# commit: " + e);
                }
            }
            end = end == 0 ? now + PATIENCE : end;
            check(now < end, "nothing to read for " + PATIENCE + " ms; " + seen.size() + " of " + next + " records so far");
        }
    }

    static Set<TopicPartition> partitions() {
        Set<TopicPartition> all = new HashSet<>();
        for (int i = 0; i < PARTITIONS; i++) {
            all.add(new TopicPartition(topic, i));
        }
        return all;
    }

    static boolean atEnd(KafkaConsumer<String, String> c) {
        Map<TopicPartition, OffsetAndMetadata> committed = c.committed(partitions());
        for (var e : c.endOffsets(partitions()).entrySet()) {
            OffsetAndMetadata at = committed.get(e.getKey());
            if (e.getValue() != (at == null ? 0 : at.offset())) {
                return false;
            }
        }
        return true;
    }

    static void checkLog() {
        Map<Integer, Integer> found = new HashMap<>();
        Map<String, Integer> last = new HashMap<>();
        try (KafkaConsumer<String, String> c = consumer()) {
            c.assign(partitions());
            c.seekToBeginning(partitions());
            long left = c.endOffsets(partitions()).values().stream().mapToLong(Long::longValue).sum();
            for (long end = System.currentTimeMillis() + PATIENCE; left > 0; ) {
                check(System.currentTimeMillis() < end, left + " records cannot be read");
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(500))) {
                    left--;
                    int n = Integer.parseInt(r.value());
                    found.merge(n, 1, Integer::sum);
                    if (!again.contains(n)) {
                        Integer before = last.put(r.key(), n);
                        check(before == null || before < n, "record " + n + " comes after " + before + " of its key");
                    }
                }
            }
        }
        for (int n = 0; n < next; n++) {
            int times = found.getOrDefault(n, 0);
            check(times == 1 || (times > 1 && again.contains(n)), "acknowledged record " + n + " is there " + times + " times");
        }
        check(found.size() == next, found.size() + " different records, written " + next);
    }

    static void run() throws Exception {
        try (Admin admin = Admin.create(config())) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(PARTITIONS), Optional.empty()))).all().get();
        }
        Set<Integer> seen = ConcurrentHashMap.newKeySet();
        try (KafkaProducer<String, String> p = new KafkaProducer<>(config(), new StringSerializer(), new StringSerializer())) {
            try (KafkaConsumer<String, String> c = member()) {
                batch(p);
                read(c, seen, null); // there are a group and its coordinator now
                FutureTask<Void> writer = new FutureTask<>(() -> write(p));
                FutureTask<Void> reader = new FutureTask<>(() -> read(c, seen, writer));
                new Thread(writer).start();
                new Thread(reader).start();
                int code = new ProcessBuilder("./kills.sh", topic, group).inheritIO().directory(Path.of("").toAbsolutePath().toFile()).start().waitFor();
                stop = true;
                writer.get();
                reader.get();
                check(code == 0, "kills.sh: exit code " + code);
            }
            System.out.println("# " + next + " records, " + again.size() + " not acknowledged at first");
            checkLog();
            int from = next;
            batch(p);
            Set<Integer> later = new HashSet<>();
            try (KafkaConsumer<String, String> c = member()) {
                for (long end = System.currentTimeMillis() + PATIENCE; later.size() < KEYS && System.currentTimeMillis() < end; ) {
                    c.poll(Duration.ofMillis(500)).forEach(r -> later.add(Integer.parseInt(r.value())));
                }
            }
            check(later.size() == KEYS && later.stream().allMatch(n -> n >= from), "after record " + from + " a new member reads " + later);
        }
    }

    public static void main(String[] args) {
        server = args[0];
        try {
            run();
            System.out.println("ok - nodes are killed under a producer and a group");
            System.exit(0);
        } catch (Throwable e) {
            System.out.println("not ok - nodes are killed under a producer and a group: " + e);
            e.printStackTrace(System.out);
            System.exit(1);
        }
    }
}
