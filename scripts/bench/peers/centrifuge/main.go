// One node on the Centrifuge library, which Centrifugo is made of, with what the benchmark uses of Centrifugo:
// WebSocket in JSON, users' channels with history and recovery in Redis, and publishing by POST /api/batch.
//
// PORT, REDIS (host:port), KEY (of the API), SECRET (of the users' HS256 tokens), KEEP (publications per channel).
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

const (
	historyTTL   = 10 * time.Minute
	writeTimeout = 30 * time.Second
	queueSize    = 256 << 20 // bytes: what a user has missed is one reply
)

type publishRequest struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

type publishResult struct {
	Offset uint64 `json:"offset,omitempty"`
	Epoch  string `json:"epoch,omitempty"`
}

type apiError struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
}

type batchRequest struct {
	Commands []struct {
		Publish *publishRequest `json:"publish"`
	} `json:"commands"`
}

type batchReply struct {
	Error   *apiError      `json:"error,omitempty"`
	Publish *publishResult `json:"publish,omitempty"`
}

type batchResponse struct {
	Replies []batchReply `json:"replies"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		printVersions()
		return
	}
	node := newNode()
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:  func(*http.Request) bool { return true },
		WriteTimeout: writeTimeout,
	}))
	mux.HandleFunc("POST /api/batch", batchHandler(node))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}

// Of the library and of Go.
func printVersions() {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/centrifugal/centrifuge" {
			fmt.Println(module.Version, build.GoVersion)
		}
	}
}

func newNode() *centrifuge.Node {
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: queueSize})
	if err != nil {
		log.Fatal(err)
	}
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: os.Getenv("REDIS")})
	if err != nil {
		log.Fatal(err)
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		log.Fatal(err)
	}
	node.SetBroker(broker)
	secret := []byte(os.Getenv("SECRET"))
	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		user, ok := userOf(event.Token, secret)
		if !ok {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: user}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(event centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			if event.Channel != "inbox:#"+client.UserID() {
				answer(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: true}}, nil)
		})
	})
	return node
}

// The commands of one batch one after the other, so that a sender's messages keep their order.
func batchHandler(node *centrifuge.Node) http.HandlerFunc {
	key := os.Getenv("KEY")
	keep, err := strconv.Atoi(os.Getenv("KEEP"))
	if err != nil {
		log.Fatal(err)
	}
	history := centrifuge.WithHistory(keep, historyTTL)
	return func(answer http.ResponseWriter, request *http.Request) {
		if !hmac.Equal([]byte(request.Header.Get("X-API-Key")), []byte(key)) {
			http.Error(answer, "Unauthorized", http.StatusUnauthorized)
			return
		}
		var batch batchRequest
		if err := json.NewDecoder(request.Body).Decode(&batch); err != nil {
			http.Error(answer, "Bad Request", http.StatusBadRequest)
			return
		}
		replies := make([]batchReply, 0, len(batch.Commands))
		for _, command := range batch.Commands {
			replies = append(replies, publish(node, command.Publish, history))
		}
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(batchResponse{Replies: replies})
	}
}

func publish(node *centrifuge.Node, request *publishRequest, history centrifuge.PublishOption) batchReply {
	if request == nil || request.Channel == "" || len(request.Data) == 0 {
		return batchReply{Error: &apiError{Code: 107, Message: "bad request"}}
	}
	result, err := node.Publish(request.Channel, request.Data, history)
	if err != nil {
		return batchReply{Error: &apiError{Code: 100, Message: "internal server error"}}
	}
	return batchReply{Publish: &publishResult{Offset: result.Offset, Epoch: result.Epoch}}
}

// The `sub` of a valid HS256 token.
func userOf(token string, secret []byte) (string, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		Sub string `json:"sub"`
		Exp int64  `json:"exp"`
	}
	given, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decoded(parts[0], &header) || !decoded(parts[1], &claims) {
		return "", false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	valid := header.Alg == "HS256" && hmac.Equal(given, mac.Sum(nil)) && claims.Exp > time.Now().Unix()
	return claims.Sub, valid && claims.Sub != ""
}

func decoded(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
