// One step of a batch of rows of sixgym/RisNoma-v0 at its default parameters, as one loop.
//
// For the benchmark only: what the step costs when everything is fused by hand. The layout of all
// arrays is the environment's own; the caller has checked the parameters.

#include "draws.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr int K = 4, N = 32, W = 4, kLinks = K + N + K * N;
constexpr int kColumns = 4 + W, kFeatures = 11 + W, kSeen = K * kFeatures + 5, kMetrics = 10;
constexpr float kTiny = 1e-30f, kLeast = 1.17549435e-38f, kHuge = 1e14f;
enum { VOLUME, RHO, QUEUE, RAW, BUCKETS };


// Gains of the links under a surface, |d + sum r v G|^2.
inline void gains(const float* re, const float* im, const float* v_re, const float* v_im,
                  float* gain) {
  float g_re[N], g_im[N];
  for (int n = 0; n < N; ++n) {
    g_re[n] = v_re[n] * re[K + n] - v_im[n] * im[K + n];
    g_im[n] = v_re[n] * im[K + n] + v_im[n] * re[K + n];
  }
  for (int k = 0; k < K; ++k) {
    const float *r_re = re + K + N + k * N, *r_im = im + K + N + k * N;
    float h_re = re[k], h_im = im[k];
    for (int n = 0; n < N; ++n) {
      h_re += r_re[n] * g_re[n] - r_im[n] * g_im[n];
      h_im += r_re[n] * g_im[n] + r_im[n] * g_re[n];
    }
    gain[k] = h_re * h_re + h_im * h_im + kTiny;
  }
}

inline void alignment(const float* re, const float* im, float* aligned) {
  float size[kLinks];
  for (int j = 0; j < kLinks; ++j) size[j] = std::sqrt(re[j] * re[j] + im[j] * im[j]);
  for (int k = 0; k < K; ++k) {
    float sum = size[k];
    for (int n = 0; n < N; ++n) sum += size[K + N + k * N + n] * size[K + n];
    aligned[k] = sum;
  }
}

// Received powers and interference in decoding order, over the noise.
inline void walk(const float* target, const float* cap, float* received, float* interference) {
  float total = 1.0f;
  for (int i = K - 1; i >= 0; --i) {
    interference[i] = total;
    received[i] = std::min(target[i] * total, cap[i]);
    total += received[i];
  }
}

}  // namespace

struct Tables {
  const uint64_t* words;  // (links + users) words of the generator
  float least_rho, budget, price, beta, cap_w, amplifier_s, queue_limit, correlation, spread;
  float busy, least_task, task_slope, static_j, reference_ee, drop_weight, mean_bits, most_task;
  float horizon;
};

// Required and largest received powers. That small numbers lose digits here, unlike in expm1, does
// no harm: what is received has to stand out of a noise of 1.
inline void prepare(const Tables& t, const float* bits, const float* quality, float* target,
                    float* cap) {
  for (int j = 0; j < K; ++j) {
    target[j] = std::exp(bits[j] * t.beta) - 1.0f;
    cap[j] = quality[j] * t.cap_w;
  }
}

// The random numbers of one row: complex normals of the links, uniforms of the users.
inline void draw(const Tables& t, uint64_t key, uint64_t step, float* re, float* im, float* u) {
  float high[kLinks + K], low[kLinks + K];
  for (int j = 0; j < kLinks + K; ++j) {
    const uint64_t w = word(key, t.words[j], step);
    high[j] = uniform(w);
    low[j] = lower(w);
  }
  // A loop for each function: a compiler that joins sine and cosine finds no vector form of both.
  float radius[kLinks];
  for (int j = 0; j < kLinks; ++j) radius[j] = std::sqrt(-std::log(high[j]));
  for (int j = 0; j < kLinks; ++j) re[j] = radius[j] * std::cos(low[j] * kTurn);
  for (int j = 0; j < kLinks; ++j) im[j] = radius[j] * std::sin(low[j] * kTurn);
  for (int k = 0; k < K; ++k) u[k] = high[kLinks + k];
}

extern "C" void ris_draws(const Tables* tables, int64_t rows, const int64_t* key,
                          const int64_t* step, float* normals, float* uniforms) {
  for (int64_t i = 0; i < rows; ++i) {
    float* re = normals + i * 2 * kLinks;
    draw(*tables, uint64_t(key[i]), uint64_t(step[i]), re, re + kLinks, uniforms + i * K);
  }
}

extern "C" void ris_step(const Tables* tables, int64_t rows, int64_t limit, float* links,
                         const float* los, const float* scatter, float* users, const float*,
                         float* surface, int64_t* order, float* clock, float* totals, float* gain,
                         float* aligned, const int64_t* key, int64_t* step, const float* action,
                         float* seen, float* reward, bool* terminated, bool* truncated,
                         float* metrics) {
  const Tables& t = *tables;
  const float decade = 1.0f / std::log(10.0f), pi = 3.14159265358979324f;
  for (int64_t i = 0; i < rows; ++i) {
    const float* a = action + i * (3 * K + N);
    float *re = links + i * 2 * kLinks, *im = re + kLinks, *user = users + i * K * kColumns;
    float *v_re = surface + i * 2 * N, *v_im = v_re + N;
    int64_t* place = order + i * K;
    for (int n = 0; n < N; ++n) v_re[n] = std::cos(pi * a[2 * K + n]);
    for (int n = 0; n < N; ++n) v_im[n] = std::sin(pi * a[2 * K + n]);
    const float* score = a + 2 * K + N;
    for (int k = 0; k < K; ++k) {
      int before = 0;
      for (int j = 0; j < K; ++j) before += score[j] > score[k] || (score[j] == score[k] && j < k);
      place[before] = k;
    }
    float g[K], volume[K], load[K], offered[K], raw[K];
    gains(re, im, v_re, v_im, g);
    float compute_j = 0.0f, left[K][W], rho[K];
    for (int k = 0; k < K; ++k) {
      rho[k] = t.least_rho + (1.0f - t.least_rho) * (0.5f + 0.5f * a[K + k]);
      load[k] = std::max(-std::log(rho[k]), kLeast);
    }
    for (int k = 0; k < K; ++k) {
      float *u = user + k * kColumns, *bucket = u + BUCKETS, due[W], sum = 0.0f;
      for (int w = 0; w < W; ++w) due[w] = sum += bucket[w];
      u[VOLUME] = bucket[0] + (0.5f + 0.5f * a[k]) * (sum - bucket[0]);
      u[RHO] = rho[k];
      const float most = std::min(sum, t.budget / load[k]);
      volume[k] = std::min(std::max(u[VOLUME], bucket[0]), most);
      offered[k] = u[QUEUE] + u[RHO] * volume[k];
      raw[k] = u[RAW] + volume[k];
      const float root = t.price * volume[k] * load[k];
      compute_j += root * root * root;
      for (int w = 0; w < W; ++w) {
        left[k][w] = std::min(std::max(due[w] - volume[k], 0.0f), bucket[w]);
      }
    }
    float quality[K], bits[K], target[K], cap[K], received[K], interference[K], reached[K];
    float service[K], transmit_j = 0.0f;
    for (int j = 0; j < K; ++j) {
      quality[j] = g[place[j]];
      bits[j] = offered[place[j]];
    }
    prepare(t, bits, quality, target, cap);
    walk(target, cap, received, interference);
    for (int j = 0; j < K; ++j) {
      reached[j] = std::log(1.0f + cap[j] / interference[j]) * (1.0f / t.beta);
      transmit_j += received[j] / quality[j] * t.amplifier_s;
    }
    for (int j = 0; j < K; ++j) service[place[j]] = reached[j];

    float z_re[kLinks], z_im[kLinks], uniforms[K];
    draw(t, uint64_t(key[i]), uint64_t(++step[i]), z_re, z_im, uniforms);
    const float *los_re = los + i * 2 * kLinks, *los_im = los_re + kLinks;
    const float* size = scatter + i * kLinks;
    for (int j = 0; j < kLinks; ++j) {
      const float moving = t.spread * size[j];
      re[j] = los_re[j] + t.correlation * (re[j] - los_re[j]) + moving * z_re[j];
      im[j] = los_im[j] + t.correlation * (im[j] - los_im[j]) + moving * z_im[j];
    }
    gains(re, im, v_re, v_im, gain + i * K);
    alignment(re, im, aligned + i * K);

    float useful = 0.0f, dropped = 0.0f, arrived = 0.0f;
    for (int k = 0; k < K; ++k) {
      float *u = user + k * kColumns, *bucket = u + BUCKETS;
      const float sent = std::min(offered[k], service[k]);
      const float delivered = raw[k] * (sent / std::max(offered[k], kLeast));
      const float over = offered[k] - sent, over_raw = raw[k] - delivered;
      u[QUEUE] = std::min(over, t.queue_limit);
      u[RAW] = over_raw * (u[QUEUE] / std::max(over, kLeast));
      useful += delivered;
      dropped += over_raw - u[RAW] + left[k][0];
      for (int w = 0; w + 1 < W; ++w) bucket[w] = left[k][w + 1];
      const float task = t.least_task + t.task_slope * uniforms[k];
      arrived += bucket[W - 1] = uniforms[k] < t.busy ? task : 0.0f;
    }
    float* c = clock + i * 4;
    c[0] = c[1] = c[2] = 0.0f;
    c[3] += 1.0f;
    const float sums[6] = {useful, useful, dropped, arrived, transmit_j, compute_j};
    for (int j = 0; j < 6; ++j) totals[i * 6 + j] += sums[j];
    const float energy = transmit_j + compute_j + t.static_j;
    const float worth = useful - t.reference_ee * energy - t.drop_weight * dropped;
    reward[i] = worth / t.mean_bits;
    terminated[i] = false;
    truncated[i] = step[i] >= limit;
    float* m = metrics + i * kMetrics;
    for (int j = 0; j < 6; ++j) m[j] = sums[j];
    m[6] = t.static_j;
    m[7] = energy;
    m[8] = useful / (energy + 1e-12f);
    m[9] = 0.0f;

    float *o = seen + i * kSeen, planned_j = 0.0f, wide[K], compute[K], log_gain[K], log_most[K];
    const float* now = gain + i * K;
    for (int k = 0; k < K; ++k) log_gain[k] = std::log(now[k]);
    for (int k = 0; k < K; ++k) log_most[k] = std::log(aligned[i * K + k]);
    for (int k = 0; k < K; ++k) {
      const float *u = user + k * kColumns, *bucket = u + BUCKETS;
      float* f = o + k * kFeatures;
      float sum = 0.0f, available = 0.0f;
      for (int w = 0; w < W; ++w) {
        sum += bucket[w];
        available = std::max(available, sum * (1.0f / float(w + 1)));
        f[11 + w] = bucket[w] / t.most_task;
      }
      const float most = std::min(sum, t.budget / load[k]);
      const float planned = std::min(std::max(u[VOLUME], bucket[0]), most);
      offered[k] = u[QUEUE] + u[RHO] * planned;
      const float root = t.price * planned * load[k];
      compute[k] = root * root * root * 1e3f;
      planned_j += compute[k];
      int rank = 0;
      for (int j = 0; j < K; ++j) rank += now[j] > now[k];
      f[0] = log_gain[k] * (0.5f * decade) - 1.0f;
      f[1] = (log_gain[k] - 2.0f * log_most[k]) * decade;
      f[2] = available / t.most_task;
      f[3] = planned / t.most_task;
      f[4] = u[VOLUME] / t.most_task;
      f[5] = u[RHO];
      f[6] = u[QUEUE] / t.most_task;
      f[8] = float(rank) / float(K - 1);
    }
    for (int j = 0; j < K; ++j) {
      quality[j] = now[place[j]];
      bits[j] = offered[place[j]];
    }
    prepare(t, bits, quality, target, cap);
    walk(target, cap, received, interference);
    for (int j = 0; j < K; ++j) {
      planned_j += received[j] / quality[j] * (t.amplifier_s * 1e3f);
      cap[j] *= kHuge;
    }
    walk(target, cap, wide, interference);
    float effort[K], heat[K];
    for (int j = 0; j < K; ++j) {
      effort[j] = std::log(wide[j] / quality[j] / t.cap_w + 1e-3f) * decade;
      heat[j] = std::log(1.0f + compute[j]) * decade;
    }
    for (int j = 0; j < K; ++j) {
      float* f = o + place[j] * kFeatures;
      f[7] = float(j) * (1.0f / float(K - 1));
      f[9] = effort[j];
      o[j * kFeatures + 10] = heat[j];
    }
    float* shared = o + K * kFeatures;
    shared[0] = shared[1] = shared[2] = 0.0f;
    shared[3] = std::log(1.0f + t.static_j * 1e3f + planned_j) * decade;
    shared[4] = c[3] / t.horizon;
    for (int j = 0; j < kSeen; ++j) o[j] = std::min(std::max(o[j], -10.0f), 10.0f);
  }
}
