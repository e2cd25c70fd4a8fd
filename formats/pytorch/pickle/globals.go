package pickle

import (
	"strings"

	"weightwarden/formats"
)

// Judge says what importing or calling a global means to a person who has to
// decide whether a file is safe: Danger runs programs, code or the network, Info
// belongs to what PyTorch and NumPy write themselves, and everything else is a
// Warning, because loading would import a module of the file's choosing.
func (g *Global) Judge() formats.Severity {
	module, name := g.Module, g.Name
	if dangerous(module, name) {
		return formats.Danger
	}
	if benign(module, name) {
		return formats.Info
	}
	return formats.Warning
}

// dangerous holds the names that published attacks on model files use.
func dangerous(module, name string) bool {
	root, _, _ := strings.Cut(module, ".")
	switch root {
	case "os", "posix", "nt", "subprocess", "sys", "pty", "socket", "shutil", "runpy", "webbrowser", "importlib",
		"ctypes", "cffi", "asyncio", "multiprocessing", "commands", "code", "codeop", "bdb", "pdb", "timeit", "trace",
		"pip", "pydoc", "venv", "ensurepip", "idlelib", "lib2to3", "imaplib", "smtplib", "ftplib", "urllib", "urllib2",
		"requests", "httplib", "http", "aiohttp", "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal",
		"types", "signal", "tempfile", "distutils", "setuptools", "linecache", "doctest", "cProfile", "profile",
		"_posixsubprocess", "_osx_support", "_aix_support", "nturl2path", "platform", "zipimport", "pkgutil", "site":
		return true
	case "builtins", "__builtin__", "__builtins__":
		return !benignBuiltin(name)
	case "operator", "_operator":
		return strings.HasPrefix(name, "attrgetter") || strings.HasPrefix(name, "methodcaller") || name == "itemgetter"
	case "functools":
		return name == "partial" || name == "reduce"
	case "torch":
		return strings.Contains(module, "_inductor") || strings.Contains(module, "cpp_extension") ||
			strings.Contains(module, "distributed.rpc") || strings.Contains(module, "hub") || module == "torch.serialization" && name == "load" ||
			module == "torch" && name == "load"
	case "numpy":
		return strings.Contains(module, "testing") || strings.Contains(module, "f2py") || strings.Contains(module, "distutils")
	}
	return strings.Contains(name, ".__") || strings.HasPrefix(name, "__") || strings.HasSuffix(name, ".system")
}

func benignBuiltin(name string) bool {
	switch name {
	case "set", "frozenset", "dict", "list", "tuple", "int", "float", "complex", "bool", "str", "bytes", "bytearray",
		"object", "slice", "range", "xrange", "long", "unicode", "NoneType":
		return true
	}
	return false
}

// benign holds what state dicts and checkpoints of PyTorch and NumPy are made of.
func benign(module, name string) bool {
	if strings.HasPrefix(module, "__torch__") { // TorchScript classes: code of the archive, run by no Python
		return true
	}
	if strings.HasPrefix(module, "torch.nn.modules.") || strings.HasPrefix(module, "torch.distributed.checkpoint.") {
		return !strings.Contains(name, ".")
	}
	switch module {
	case "builtins", "__builtin__":
		return benignBuiltin(name)
	case "collections":
		return name == "OrderedDict" || name == "defaultdict" || name == "Counter" || name == "deque"
	case "_codecs":
		return name == "encode"
	case "copyreg", "copy_reg":
		return name == "_reconstructor"
	case "torch._utils", "torch._tensor", "torch.nn.parameter", "torch.jit._pickle":
		return !strings.Contains(name, ".")
	case "torch", "torch.storage", "torch.cuda":
		return benignTorch(name)
	case "torch.serialization":
		return name == "_get_layout"
	case "torch.torch_version":
		return name == "TorchVersion"
	case "numpy", "numpy.core.multiarray", "numpy._core.multiarray":
		return name == "dtype" || name == "ndarray" || name == "_reconstruct" || name == "scalar"
	case "numpy.core.numeric", "numpy._core.numeric":
		return name == "_frombuffer"
	case "argparse":
		return name == "Namespace"
	case "pathlib":
		return strings.HasSuffix(name, "Path")
	case "datetime":
		return name == "datetime" || name == "timedelta" || name == "date"
	}
	return false
}

func benignTorch(name string) bool {
	if strings.HasSuffix(name, "Storage") || strings.HasSuffix(name, "Tensor") || IsTorchDType(name) {
		return !strings.Contains(name, ".")
	}
	switch name {
	case "Size", "device", "_load_from_bytes", "strided", "sparse_coo", "sparse_csr", "sparse_csc", "per_tensor_affine",
		"per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric", "per_channel_affine_float_qparams",
		"dtype", "layout", "preserve_format", "contiguous_format", "channels_last", "jagged", "sparse_bsr", "sparse_bsc":
		return true
	}
	return false
}

// IsTorchDType reports whether name is that of a torch.dtype.
func IsTorchDType(name string) bool {
	for _, prefix := range []string{"float", "bfloat", "int", "uint", "complex", "qint", "quint", "bits", "half", "double",
		"long", "short", "bool", "cfloat", "cdouble", "chalf"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return strings.Trim(rest, "0123456789_xemfnuz") == ""
		}
	}
	return false
}
