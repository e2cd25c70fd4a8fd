package simd

//go:generate go -C ../../_asm run ./cut -out ../internal/simd/cut_amd64.s -stubs ../internal/simd/cut_amd64.go -pkg simd
//go:generate go -C ../../_asm run ./sketch -out ../internal/simd/sketch_amd64.s -stubs ../internal/simd/sketch_amd64.go -pkg simd
//go:generate go -C ../../_asm run ./decode -out ../internal/simd/decode_amd64.s -stubs ../internal/simd/decode_amd64.go -pkg simd
//go:generate go -C ../../_asm run ./hash -out ../internal/simd/hash_amd64.s -stubs ../internal/simd/hash_amd64.go -pkg simd
//go:generate go -C ../../_asm run ./neon ../internal/simd/neon_arm64.s
