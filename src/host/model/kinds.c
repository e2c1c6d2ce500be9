/* The models that the key `model` chooses from. */
#include "host/model/kdiffe/kdiffe.h"
#include "host/model/lightgcn/lightgcn.h"
#include "host/model/model.h"

const kd_model_kind *kd_model_kind_of(const kd_config *config) {
    static const kd_model_kind *const KINDS[] = {
        [KD_MODEL_KDIFFE] = &kd_kdiffe_kind, [KD_MODEL_LIGHTGCN] = &kd_lightgcn_kind};
    return KINDS[config->model];
}
