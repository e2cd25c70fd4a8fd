// Package all has the one list of every decoder and container.
package all

import (
	"weightwarden/formats"
	"weightwarden/formats/archive/embedded"
	"weightwarden/formats/archive/gitpack"
	"weightwarden/formats/archive/lfs"
	"weightwarden/formats/archive/sevenzip"
	"weightwarden/formats/archive/stream"
	"weightwarden/formats/archive/tar"
	"weightwarden/formats/archive/text"
	"weightwarden/formats/archive/zip"
	"weightwarden/formats/coreml"
	"weightwarden/formats/flax"
	"weightwarden/formats/gguf"
	"weightwarden/formats/hdf5"
	"weightwarden/formats/npy"
	"weightwarden/formats/ocdbt"
	"weightwarden/formats/onnx"
	"weightwarden/formats/pytorch"
	"weightwarden/formats/safetensors"
	"weightwarden/formats/sharded"
	"weightwarden/formats/tensorflow"
	"weightwarden/formats/tensorrt"
	"weightwarden/formats/tfjs"
	"weightwarden/formats/tflite"
	"weightwarden/formats/zarr"
)

// Decoders returns every decoder and container of the product.
func Decoders() formats.Decoders {
	return formats.Decoders{
		Formats: []formats.Decoder{
			safetensors.Decoder{},
			gguf.Decoder{},
			pytorch.Decoder{},
			onnx.Decoder{},
			npy.Decoder{},
			hdf5.Decoder{},
			tflite.Decoder{},
			tfjs.Decoder{},
			coreml.Decoder{},
			coreml.ModelDecoder{},
			tensorflow.Decoder{},
			tensorflow.GraphDecoder{},
			tensorrt.Decoder{},
			zarr.Decoder{},
			ocdbt.Decoder{},
			flax.Decoder{},
			lfs.Decoder{},
			sharded.Decoder{Shards: []formats.Decoder{safetensors.Decoder{}, pytorch.Decoder{}}},
		},
		Containers: append([]formats.Container{
			tar.Container{},
			zip.Container{},
			sevenzip.Container{},
			gitpack.Container{},
		}, stream.All()...),
		Disguises: append(text.All(), embedded.Container{}),
	}
}
