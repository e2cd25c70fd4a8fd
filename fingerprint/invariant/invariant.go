// Package invariant computes layer I of the fingerprint: numbers of single MLP
// neurons that do not change when the residual stream is rotated or permuted,
// neurons are reordered, or scale moves between the up and the down projection.
package invariant

// Layer holds the invariants of the sampled neurons of one MLP.
type Layer struct {
	Name    string   // tensor name of the input projection
	Neurons []Neuron // by falling norm of the input projection
}

// Neuron is one neuron's invariants, norm gains folded in where they are known:
// ln|g|, ln|u||d|, cos(g,u), cos(g,d), cos(u,d). Two-matrix MLPs have ln|in|,
// ln|out|, cos(in,out) in the first three.
type Neuron [5]float32
