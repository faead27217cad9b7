//! What a shop agent can do to containers: the broker's verbs, as a trait, so that the reconciler is tested without Docker.
