/* The models that the key `model` chooses from. */
#include "host/model/model.h"

#include "host/model/kdiffe/kdiffe.h"

const kd_model_kind *kd_model_kind_of(const kd_config *config) {
    (void)config;
    return &kd_kdiffe_kind;
}
