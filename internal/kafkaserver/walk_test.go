package kafkaserver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka43 is what Kafka 4.3 serves, of the keys that this server knows the schema of: key, first version, last version.
var kafka43 = [][3]int16{{0, 3, 13}, {1, 4, 18}, {2, 1, 11}, {3, 0, 13}, {8, 2, 10}, {9, 1, 10}, {10, 0, 6}, {11, 0, 9}, {12, 0, 4},
	{13, 0, 5}, {14, 0, 5}, {15, 0, 6}, {16, 0, 5}, {18, 0, 4}, {19, 2, 7}, {20, 1, 6}, {21, 0, 2}, {22, 0, 5}, {23, 2, 4}, {32, 1, 4},
	{33, 0, 2}, {35, 1, 5}, {37, 0, 3}, {42, 0, 2}, {43, 0, 2}, {44, 0, 1}, {47, 0, 0}, {55, 0, 2}, {60, 0, 2}, {61, 0, 0}, {74, 0, 1},
	{75, 0, 0}}

// Served ranges are exactly those of Kafka 4.3, because clients infer the broker's release from them; and every schema is of a key in
// the table.
func TestAdvertisedRanges(t *testing.T) {
	want := map[int16][2]int16{}
	for _, r := range kafka43 {
		want[r[0]] = [2]int16{r[1], r[2]}
	}
	for k := range requestSchemas {
		if _, ok := want[k]; !ok && !chronikapi.IsKey(k) {
			t.Errorf("key %d has a schema but no range", k)
		}
	}
	for k, a := range apis {
		if a == nil || a.private {
			continue
		}
		if got := [2]int16{a.serveMin, a.max}; got != want[int16(a.key)] {
			t.Errorf("key %d (%s) served in %v, Kafka 4.3 in %v", k, a.key.Name(), got, want[int16(k)])
		}
		if a.min != a.serveMin && a.key != kmsg.Produce {
			t.Errorf("key %d advertised from %d but served from %d", k, a.min, a.serveMin)
		}
	}
	if a := apis[kmsg.Produce]; a.min != 0 {
		t.Errorf("Produce advertised from %d: librdkafka turns compression off unless it is 0", a.min)
	}
}

// allRequests are the ranges of Kafka 4.3 and of our own keys.
var allRequests = append(slices.Clone(kafka43), [3]int16{chronikapi.NodeInfo}, [3]int16{chronikapi.NodeStats}, [3]int16{chronikapi.GetImage}, [3]int16{chronikapi.PartitionChecksum})

// filler makes values for the fields of kmsg's structs.
type filler struct {
	r    *rand.Rand
	tags bool
}

func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if f.r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth)
		}
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if f.tags && f.r.IntN(4) == 0 {
				tags.Set(100+f.r.Uint32N(1000), []byte("unknown"))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Version" {
				f.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if f.r.IntN(5) == 0 {
			return
		}
		n := f.r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), depth)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("%0*d", f.r.IntN(150), f.r.IntN(1000)))
	case reflect.Bool:
		v.SetBool(f.r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.r.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(f.r.Uint64() >> (64 - v.Type().Bits()))
	}
}

// randomRequest is a request of a key and version with every field at random.
func randomRequest(r *rand.Rand, key, version int16, tags bool) kmsg.Request {
	req := requestForKey(key)
	f := filler{r: r, tags: tags}
	f.fill(reflect.ValueOf(req).Elem(), 0)
	req.SetVersion(version)
	return req
}

// The walker consumes exactly what kmsg writes, for every key and version of Kafka 4.3 that has a schema.
func TestWalkerMatchesEveryRequest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range allRequests {
		for v := k[1]; v <= k[2]; v++ {
			f, err := compileSchema(k[0], v)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				req := randomRequest(r, k[0], v, true)
				body := req.AppendTo(nil)
				rest, err := walkRequest(f, body)
				if err != nil || len(rest) > 0 {
					t.Fatalf("key %d version %d, run %d: %v, %d of %d bytes left\n%x\n%+v", k[0], v, i, err, len(rest), len(body), body, req)
				}
				// One byte less is refused, or it was the last of a string that is now too long: never accepted.
				if len(body) > 0 {
					if _, err := walkRequest(f, body[:len(body)-1]); err == nil {
						t.Fatalf("key %d version %d: accepted without its last byte\n%x", k[0], v, body)
					}
				}
			}
		}
	}
}

// What the walker accepts, kmsg decodes without an error, and in memory and time bounded by the body: here with damaged bodies.
func TestWalkerGuardsKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for _, k := range allRequests {
		for v := k[1]; v <= k[2]; v++ {
			f, err := compileSchema(k[0], v)
			if err != nil {
				t.Fatal(err)
			}
			for range 200 {
				body := randomRequest(r, k[0], v, true).AppendTo(nil)
				for range 1 + r.IntN(4) {
					if len(body) > 0 {
						body[r.IntN(len(body))] = byte(r.Uint32())
					}
				}
				if _, err := walkRequest(f, body); err != nil {
					continue
				}
				accepted++
				req := requestForKey(k[0])
				req.SetVersion(v)
				if err := decodeRequest(req, body); err != nil {
					t.Fatalf("key %d version %d: walked, but kmsg says %v\n%x", k[0], v, err, body)
				}
			}
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d damaged bodies were accepted: the test shows little", accepted)
	}
}

// The inputs that make kmsg loop 2^32 times or allocate 80 times the frame are refused at once.
func TestWalkerRefusesBombs(t *testing.T) {
	uvarint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	bigArray := append(uvarint(1<<20), make([]byte, 1<<20)...)
	cases := []struct {
		name    string
		key     int16
		version int16
		body    []byte
	}{
		{"4 billion tags", 18, 3, append([]byte{2, 'a', 2, 'b'}, uvarint(1<<32-1)...)},
		{"tag longer than the body", 18, 3, append([]byte{2, 'a', 2, 'b', 1, 9}, uvarint(1<<31)...)},
		{"array of a million empty topics", 19, 7, bigArray},
		{"count without elements", 3, 9, uvarint(1 << 30)},
		{"negative count", 2, 1, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}},
		{"string longer than 32767", 18, 3, append(uvarint(40000), make([]byte, 50000)...)},
		{"null for what is not nullable", 12, 4, []byte{0, 0, 0, 0, 0, 0, 0, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := compileSchema(c.key, c.version)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err = walkRequest(f, c.body)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("accepted")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
				t.Errorf("allocated %d bytes", n)
			}
			if took > 100*time.Millisecond {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A frame full of the smallest elements stays within the decode budget, or is refused.
func TestWalkerBudget(t *testing.T) {
	f, err := compileSchema(19, 7)
	if err != nil {
		t.Fatal(err)
	}
	topic := []byte{1, 0, 0, 0, 0, 0, 0, 1, 1, 0}
	const n = 2 << 20
	body := binary.AppendUvarint(nil, n+1)
	for range n {
		body = append(body, topic...)
	}
	body = append(body, 0, 0, 0, 0, 0, 0)
	if _, err := walkRequest(f, body); err != errBodyTooBig {
		t.Errorf("%d topics in %d MiB: %v, want %v", n, len(body)>>20, err, errBodyTooBig)
	}
}

// kmsg reads versions of Metadata without the field as not allowing creation; Kafka's default is to allow it.
func TestMetadataDefaultAllowsCreation(t *testing.T) {
	for v := int16(0); v <= 13; v++ {
		req := kmsg.NewPtrMetadataRequest()
		req.Version = v
		body := req.AppendTo(nil)
		got := kmsg.NewPtrMetadataRequest()
		got.Version = v
		if err := decodeRequest(got, body); err != nil {
			t.Fatal(err)
		}
		if got.AllowAutoTopicCreation != (v < 4) {
			t.Errorf("version %d: AllowAutoTopicCreation %v", v, got.AllowAutoTopicCreation)
		}
	}
}

func BenchmarkWalkProduce(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "topic", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, 1024)}}}}
	body := req.AppendTo(nil)
	f, err := compileSchema(0, 9)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := walkRequest(f, body); err != nil {
			b.Fatal(err)
		}
	}
}
