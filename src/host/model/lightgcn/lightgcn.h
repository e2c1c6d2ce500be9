/* LightGCN (He et al., SIGIR 2020, arXiv 2002.02126): embeddings of users and items, smoothed over the interaction
 * graph.
 *
 *   E_k = A^k E,  A = D^-1/2 [0 Y ; Y^T 0] D^-1/2 with Y the 0/1 interactions and D their degrees (no self loops),
 *   view = (E_0 + ... + E_K) / (K + 1),  score(u, i) = view_u . view_i,
 *   loss = -(1/B) sum log sigmoid(score(u, p) - score(u, n)) + reg |E|^2.
 *
 * A is symmetric, so the gradient of E is the same sum over the gradient of the view. Over several ranks the columns of
 * E are divided, always: all that crosses in a step is one number for each entry of the batch. */
#ifndef KD_LIGHTGCN_LIGHTGCN_H
#define KD_LIGHTGCN_LIGHTGCN_H

#include "host/model/model.h"

extern const kd_model_kind kd_lightgcn_kind;

#endif
