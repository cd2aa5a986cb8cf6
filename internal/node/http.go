package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	httpReadTimeout = 10 * time.Second
	httpMaxHeader   = 16 << 10
)

// httpServer serves metrics, health and profiles. It is up before the node serves, so that a long recovery can be watched.
type httpServer struct {
	server *http.Server
	done   chan struct{}
}

// startHTTP serves on l. healthy and serving return why they are not, or nil.
func startHTTP(l net.Listener, metrics prometheus.Gatherer, healthy, serving func() error, logger *slog.Logger) *httpServer {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", probe(healthy))
	mux.HandleFunc("GET /readyz", probe(serving))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	h := &httpServer{done: make(chan struct{}), server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: httpReadTimeout,
		ReadTimeout:       httpReadTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    httpMaxHeader,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(h.done)
		if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("http port closed", "error", err)
		}
	}()
	return h
}

// probe answers 200 with "ok", or 503 with the reason.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, err.Error()+"\n") // whoever asked has gone
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}

// stop closes the port; a profile that is being taken ends with it.
func (h *httpServer) stop(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = h.server.Close()
	}
	<-h.done
	return err
}
