package main

import (
	"context"
	"sync"
	"time"

	authorization "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// How a burst ended: requests by their outcome. What has no HTTP answer is an error by its text.
type burstOutcome struct {
	Done    int            `json:"done"`
	TooMany int            `json:"tooMany"`
	Errors  map[string]int `json:"errors"`
	Ms      int64          `json:"ms"`
}

// Asks count questions at the same moment. They are POST, which no client repeats by itself.
func burst(ctx context.Context, s scene) error {
	client, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	review := &authorization.SelfSubjectAccessReview{
		Spec: authorization.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorization.ResourceAttributes{Verb: "get", Resource: "pods", Namespace: s.namespace},
		},
	}
	outcome := burstOutcome{Errors: map[string]int{}}
	var counting sync.Mutex
	from := time.Now()
	atOnce(s.count, func(int) {
		made, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review.DeepCopy(), meta.CreateOptions{})
		counting.Lock()
		defer counting.Unlock()
		switch {
		case err == nil && made.Spec.ResourceAttributes.Verb == "get":
			outcome.Done++
		case apierrors.IsTooManyRequests(err):
			outcome.TooMany++
		case err == nil:
			outcome.Errors["another answer"]++
		default:
			outcome.Errors[err.Error()]++
		}
	})
	outcome.Ms = since(from)
	tell(outcome)
	return nil
}
