// The random numbers of the environments; see sixgym.envs.backend.rng.

#pragma once

#include <cstdint>

constexpr float kShare = 1.0f / 8388608.0f;  // 2^-23
constexpr float kTurn = 6.28318530717958648f * kShare;

inline uint64_t word(uint64_t key, uint64_t table, uint64_t step) {
  uint64_t z = (key ^ table) + step * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Upper and lower 23 bits as numbers; by way of int, which vector units convert faster.
inline float upper(uint64_t w) { return float(int32_t(w >> 41)); }
inline float lower(uint64_t w) { return float(int32_t(w >> 9) & 0x7FFFFF); }

inline float uniform(uint64_t w) { return (upper(w) + 0.5f) * kShare; }
