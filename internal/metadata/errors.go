package metadata

import "errors"

var (
	// ErrInvalid: the event contradicts the image or itself. The image is unchanged. In a committed log it means that this node's
	// state is not what the writer's was, and the node must stop.
	ErrInvalid = errors.New("invalid event")
	// ErrUnknownEvent: an event type or version that this build does not know. The node must stop.
	ErrUnknownEvent = errors.New("unknown event type or version")
	// ErrMalformed: bytes that are not an event.
	ErrMalformed = errors.New("malformed event")
	// ErrSnapshot: bytes that are not a snapshot of an image, or not a whole one.
	ErrSnapshot = errors.New("invalid image snapshot")
	// ErrTopicName: not a name a topic can have.
	ErrTopicName = errors.New("topic name is invalid")
)
