"""Exports a small Keras model through tf2onnx to the file named first; run in a process of its own."""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import tensorflow as tf
import tf2onnx
from keras import layers

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(4, 3, name="conv", activation="relu"),
        layers.BatchNormalization(name="bn"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(16, activation="relu", name="fc_1"),
        layers.Dense(10, name="fc_2", activation="softmax"),
    ]
)
signature = [tf.TensorSpec((None, 8, 8, 1), tf.float32, name="x")]
function = tf.function(lambda x: model(x, training=False), input_signature=signature)
proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
Path(sys.argv[1]).write_bytes(proto.SerializeToString())
